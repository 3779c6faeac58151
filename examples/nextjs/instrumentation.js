// Next.js calls register() once when a server starts, before the first request.

export async function register() {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return // a native addon does not load on the edge runtime
  const { warmUp } = await import('./lib/products.js')
  try {
    const { written, durationMs } = await warmUp()
    console.log(`warmed ${written} products in ${durationMs.toFixed(1)} ms`)
  } catch (error) {
    console.error(`not warmed: ${error.code}: ${error.message}`)
  }
}
