import { Cluster, Redis } from 'ioredis'
import { openFamily, openFamilyCluster } from './ioredis-family.mjs'

export const packageName = 'ioredis'
export const open = (url) => openFamily(Redis, url, { auto: true })
export const openCluster = (seeds) => openFamilyCluster(Cluster, seeds, { auto: true })
