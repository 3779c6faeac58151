/** @type {import('next').NextConfig} */
const config = {
  // redis-bulk loads a native addon, which a bundler cannot take in. Named here, it is left out of the bundle and
  // required at run time. This one line is all that an app of your own needs.
  serverExternalPackages: ['redis-bulk'],
}

export default config
