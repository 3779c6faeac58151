'use strict'

// Functions that give passwords. The addon knows each by a number, and asks with it for every connection that it makes.

/** @typedef {() => string | Promise<string>} PasswordFunction */

/** The client that has a function keeps it. @type {Map<number, WeakRef<PasswordFunction>>} */
const byNumber = new Map()
/** @type {WeakMap<PasswordFunction, number>} */
const numbers = new WeakMap()
const forgotten = new FinalizationRegistry((/** @type {number} */ number) => byNumber.delete(number))
let last = 0

/**
 * The number of a function, the same each time: clients with the same function may share a connection.
 * @param {PasswordFunction} give
 */
function numberOf(give) {
  const known = numbers.get(give)
  if (known !== undefined) return known
  const number = ++last
  numbers.set(give, number)
  byNumber.set(number, new WeakRef(give))
  forgotten.register(give, number)
  return number
}

/**
 * Answers a question of the addon.
 * @param {{ answer(question: number, password: string | undefined, reason: string): void }} port
 * @param {number} number
 * @param {number} question
 */
async function answer(port, number, question) {
  try {
    const give = byNumber.get(number)?.deref()
    if (give === undefined) throw new Error('the client with the function is gone')
    const password = await give()
    if (typeof password !== 'string') throw new TypeError(`password() must give a string; it gave ${password === null ? 'null' : typeof password}`)
    port.answer(question, password, '')
  } catch (error) {
    port.answer(question, undefined, error instanceof Error ? `${error.name}: ${error.message}` : 'something that is no error was thrown')
  }
}

module.exports = { answer, numberOf }
