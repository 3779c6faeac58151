// The page: figures that arrive as events, drawn as they come. No library, no build step.

/** Points of a line. */
const POINTS = 120

export const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>redis-bulk: live</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  main { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem }
  section { border: 1px solid #8886; border-radius: .5rem; padding: 1rem }
  h2 { font-size: .9rem; font-weight: 600; margin: 0; opacity: .7 }
  output { font-size: 2rem; font-variant-numeric: tabular-nums }
  svg { width: 100%; height: 4rem; overflow: visible }
  polyline { fill: none; stroke: #2a78d6; stroke-width: 2; vector-effect: non-scaling-stroke }
  pre { white-space: pre-wrap; margin: 0; font-size: .85rem }
</style>
<h1>redis-bulk</h1>
<p id="status" role="status">waiting for the first figures …</p>
<main>
  <section><h2>Hit ratio, last second</h2><output id="hitRatio">–</output><svg viewBox="0 0 ${POINTS} 100" preserveAspectRatio="none"><polyline id="hitRatioLine"/></svg></section>
  <section><h2>Look-up p95, ms</h2><output id="p95">–</output><svg viewBox="0 0 ${POINTS} 100" preserveAspectRatio="none"><polyline id="p95Line"/></svg></section>
  <section><h2>Round trip now, ms</h2><output id="roundTrip">–</output><svg viewBox="0 0 ${POINTS} 100" preserveAspectRatio="none"><polyline id="roundTripLine"/></svg></section>
  <section><h2>Calls, last second</h2><output id="calls">–</output><svg viewBox="0 0 ${POINTS} 100" preserveAspectRatio="none"><polyline id="callsLine"/></svg></section>
  <section><h2>Errors by code</h2><pre id="errors">none</pre></section>
  <section><h2>Changes of state</h2><pre id="changes">none so far</pre></section>
</main>
<script>
  const byId = (id) => document.getElementById(id)
  const lines = {}
  function show(id, value, shown, top) {
    byId(id).textContent = value === null ? '–' : shown
    const line = (lines[id] ??= [])
    line.push(value)
    if (line.length > ${POINTS}) line.shift()
    const most = top ?? Math.max(...line, 0.001)
    byId(id + 'Line').setAttribute('points', line.flatMap((each, x) => (each === null ? [] : [x + ',' + (100 - (each / most) * 100)])).join(' '))
  }
  const source = new EventSource('/live')
  source.onmessage = ({ data }) => {
    const now = JSON.parse(data)
    byId('status').textContent = now.status + ', ' + now.state + ', served from ' + now.servedFrom
    show('hitRatio', now.hitRatio, (now.hitRatio * 100).toFixed(1) + ' %', 1)
    show('p95', now.lookupMs && now.lookupMs.p95, now.lookupMs && now.lookupMs.p95.toFixed(2))
    show('roundTrip', now.roundTripMs, now.roundTripMs !== null && now.roundTripMs.toFixed(2))
    show('calls', now.calls, String(now.calls), undefined)
    byId('errors').textContent = Object.entries(now.errors).map(([code, count]) => code + ' ' + count).join('\\n') || 'none'
    byId('changes').textContent = now.changes.map(({ at, from, to, reason }) => new Date(at).toLocaleTimeString() + ' ' + from + ' → ' + to + (reason ? ': ' + reason : '')).reverse().join('\\n') || 'none so far'
  }
  source.onerror = () => { byId('status').textContent = 'the app does not answer; trying again' }
</script>
</html>
`
