// Stands for the database: where the products come from when the cache does not have them.

const KINDS = ['Beaker', 'Flask', 'Funnel', 'Pipette', 'Stirrer']

/** A thousand products with the codes P0001 to P1000. */
export function allProducts() {
  return Array.from({ length: 1000 }, (_, index) => {
    const number = index + 1
    return {
      code: `P${String(number).padStart(4, '0')}`,
      name: `${KINDS[index % KINDS.length]} ${number}`,
      cents: 250 + ((number * 37) % 5000),
    }
  })
}

/** A report that takes a second. */
export async function reportFor(kind) {
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const products = allProducts().filter(({ name }) => name.startsWith(kind))
  return { kind, products: products.length, cents: products.reduce((sum, { cents }) => sum + cents, 0), madeAt: new Date() }
}
