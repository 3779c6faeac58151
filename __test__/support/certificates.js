'use strict'

// Certificates for tests, made on the spot: a CA, and what it signs.
//
//   const ca = await createAuthority()
//   const { cert, key } = await ca.issue({ names: ['localhost', '127.0.0.1'] })
//   const own = await selfSigned({ names: ['localhost'] })        // as of `openssl req -x509`: its own CA

require('reflect-metadata')
const { webcrypto } = require('node:crypto')
const net = require('node:net')
const x509 = require('@peculiar/x509')

x509.cryptoProvider.set(webcrypto)

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const dayMs = 24 * 60 * 60 * 1000

async function keyPair() {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
  return { keys, key }
}

const altNames = (names) =>
  new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: net.isIP(value) ? 'ip' : 'dns', value })))

let serial = 0
const common = ({ notBefore = new Date(Date.now() - dayMs), notAfter = new Date(Date.now() + dayMs) }) => ({
  serialNumber: (++serial).toString(16).padStart(8, '0'),
  notBefore,
  notAfter,
  signingAlgorithm: algorithm,
})

/** A certificate that signs itself and says that it is a CA. */
async function selfSigned({ subject = 'CN=self', names = [], ...times } = {}) {
  const { keys, key } = await keyPair()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      ...common(times),
      name: subject,
      keys,
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true), ...(names.length > 0 ? [altNames(names)] : [])],
    },
    webcrypto,
  )
  return { cert: certificate.toString('pem'), key, keys, certificate }
}

/** A CA. `issue({ names, notBefore, notAfter })` makes a certificate with its key; `cert` is the CA's own. */
async function createAuthority(subject = 'CN=redis-bulk tests') {
  const { cert, certificate, keys } = await selfSigned({ subject })
  const issue = async ({ names = [], subject = 'CN=test', ...times } = {}) => {
    const own = await keyPair()
    const issued = await x509.X509CertificateGenerator.create(
      {
        ...common(times),
        subject,
        issuer: certificate.subject,
        publicKey: own.keys.publicKey,
        signingKey: keys.privateKey,
        extensions: [new x509.BasicConstraintsExtension(false), ...(names.length > 0 ? [altNames(names)] : [])],
      },
      webcrypto,
    )
    return { cert: issued.toString('pem'), key: own.key }
  }
  return { cert, issue }
}

module.exports = { createAuthority, dayMs, selfSigned }
