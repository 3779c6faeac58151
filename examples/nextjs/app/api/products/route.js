// GET /api/products?codes=P001,P002,NOPE

import { findProducts } from '../../../lib/products.js'

export const runtime = 'nodejs'
export const dynamic = 'force-dynamic'

export async function GET(request) {
  const codes = (new URL(request.url).searchParams.get('codes') ?? '').split(',').filter(Boolean)
  if (codes.length === 0) return Response.json({ error: 'codes: separated by commas' }, { status: 400 })
  try {
    return Response.json({ products: await findProducts(codes) })
  } catch (error) {
    console.error(`/api/products: ${error.code}: ${error.message}`)
    return Response.json({ error: error.code }, { status: error.retryable ? 503 : 500 })
  }
}
