import { Cluster, Redis } from 'iovalkey'
import { openFamily, openFamilyCluster } from './ioredis-family.mjs'

export const packageName = 'iovalkey'
export const open = (url) => openFamily(Redis, url, { auto: true })
export const openCluster = (seeds) => openFamilyCluster(Cluster, seeds, { auto: true })
