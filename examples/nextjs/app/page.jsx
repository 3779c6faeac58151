// A server component reads like a route does.

import { findProducts } from '../lib/products.js'

export const dynamic = 'force-dynamic'

export default async function Page() {
  const codes = ['P001', 'P002', 'P499', 'NOPE']
  const products = await findProducts(codes)
  return (
    <ul>
      {codes.map((code, index) => (
        <li key={code}>
          {code}: {products[index]?.name ?? 'not in the cache'}
        </li>
      ))}
    </ul>
  )
}
