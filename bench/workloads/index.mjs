import callers from './callers.mjs'
import cluster from './cluster.mjs'
import keys from './keys.mjs'
import lookup from './lookup.mjs'
import set from './set.mjs'
import special from './special.mjs'

export const WORKLOADS = [...lookup, ...callers, ...set, ...keys, ...cluster, ...special]
