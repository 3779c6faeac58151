import { openCluster as openNodeRedisCluster, open as openNodeRedis } from './node-redis.mjs'

export const packageName = 'redis'
export const open = (url) => openNodeRedis(url, { untimed: true })
export const openCluster = (seeds) => openNodeRedisCluster(seeds, { untimed: true })
