// For the check of lib/: the addon's files and packages are not there, or only this machine's.
declare module '*.node' {
  const addon: unknown
  export = addon
}
declare module 'redis-bulk-linux-*' {
  const addon: unknown
  export = addon
}
declare module 'redis-bulk-darwin-*' {
  const addon: unknown
  export = addon
}
declare module 'redis-bulk-win32-*' {
  const addon: unknown
  export = addon
}
