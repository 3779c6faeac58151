// Plain text that reads well on a terminal of any width, without colours, and in a pipe. No line is ever rewritten.

const NUMBER = new Intl.NumberFormat('en-US')
const LABEL = 15
const TIME = 11

/** A printer for `stream`. Colours only where the stream is a terminal that has them and nobody asked for none. */
export function createPrinter(stream, env = process.env) {
  const colours = Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb' && (stream.hasColors?.(16) ?? false)
  const paint = (code, text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text)
  const bold = (text) => paint(1, text)
  const dim = (text) => paint(2, text)
  const green = (text) => paint(32, text)
  const yellow = (text) => paint(33, text)

  const unicode = env.TERM !== 'dumb' && !/^(C|POSIX)$/.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '')
  const block = unicode ? '█' : '#'
  const times = unicode ? '×' : 'x'
  const arrow = unicode ? '→' : '->'

  const visible = (text) => (colours ? text.replace(/\u001b\[\d+m/g, '').length : text.length)
  const width = () => Math.min(Math.max(stream.columns || 80, 30), 100)
  const line = (text = '') => stream.write(`${text}\n`)
  const count = (number) => NUMBER.format(number)

  /** Breaks at spaces; `first` is how far the cursor already stands, later lines begin at `indent`. */
  function wrap(text, indent, first = indent) {
    const lines = ['']
    let room = width() - first
    for (const word of text.split(' ')) {
      const current = lines[lines.length - 1]
      if (current && visible(current) + 1 + visible(word) > room) {
        lines.push(word)
        room = width() - indent
      } else lines[lines.length - 1] = current ? `${current} ${word}` : word
    }
    return lines.join(`\n${' '.repeat(indent)}`)
  }

  function timing(label, ms, longest, colour, note) {
    const time = `${ms < 100 ? ms.toFixed(1) : count(Math.round(ms))} ms`.padStart(TIME)
    const room = Math.min(width() - 3 - LABEL - TIME - 1, 44)
    // A narrow terminal has no room for bars.
    const bar = room < 10 ? '' : block.repeat(Math.max(1, Math.round((ms / longest) * room)))
    line(`   ${label.padEnd(LABEL)}${time} ${colour(bar)}`.trimEnd())
    if (note) line(dim(`   ${wrap(note, 3)}`))
  }

  return {
    count,
    title(text) {
      line()
      line(bold(text))
    },
    fact(name, text) {
      line(`  ${dim(name.padEnd(6))} ${wrap(text, 9)}`)
    },
    step(number, text, call) {
      line()
      line(`${bold(`${number}  ${wrap(text, 3)}`)}`)
      line(`   ${dim(wrap(call, 3))}`)
    },
    say(text) {
      line(`   ${wrap(text, 3)}`)
    },
    sample(name, text) {
      line(`     ${wrap(`${name} ${dim(arrow)} ${text}`, 7, 5)}`)
    },
    code(text) {
      line(`     ${text}`)
    },
    /**
     * One call against one item after another. `single.done` of `single.total` items were measured; null where even
     * that is not known because the time ran out.
     */
    compare(ms, single, items) {
      const complete = single.done === single.total && single.done !== null
      const longest = Math.max(ms, single.ms)
      let note
      if (single.done === null) note = `stopped there, not finished: ${items}`
      else if (!complete) note = `stopped there: ${count(single.done)} of ${count(single.total)} ${items}`
      timing('in one call', ms, longest, green)
      timing('one at a time', single.ms, longest, yellow, note)
      if (complete) {
        const ratio = single.ms / ms
        line(`   ${ratio.toFixed(ratio < 10 ? 1 : 0)}${times} as long${single.total > 1 ? '' : `, by ${items}`}`)
      } else if (single.done !== null) {
        const ratio = single.ms / single.done / (ms / single.total)
        line(`   ${ratio.toFixed(ratio < 10 ? 1 : 0)}${times} as long for each item`)
      }
    },
  }
}
