'use strict'

// The client behind the functions of the package, made when it is first needed.

const { Client } = require('./client.js')
const { ConfigError } = require('./errors.js')

/** @type {Client | undefined} */
let client

function defaultClient() {
  client ??= new Client()
  return client
}

/** @param {unknown} given */
function configure(given) {
  if (client !== undefined && client.used && !client.closed) {
    throw new ConfigError('configure() must come before the first command, or after close()', { code: 'ALREADY_CONNECTED' })
  }
  // Made here, so that what is wrong with the options is thrown where they stand.
  client = new Client(given)
}

module.exports = { configure, defaultClient }
