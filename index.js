'use strict'

const { Client } = require('./lib/client.js')
const { configure, defaultClient } = require('./lib/default.js')
const errors = require('./lib/errors.js')

exports.bulkLookup = async (prefix, codes, options) => await defaultClient().bulkLookup(prefix, codes, options)
exports.pipelineSet = async (entries, options) => await defaultClient().pipelineSet(entries, options)
exports.scanAll = async (pattern, countOrOptions) => await defaultClient().scanAll(pattern, countOrOptions)
exports.batchDelete = async (keys, batchSizeOrOptions) => await defaultClient().batchDelete(keys, batchSizeOrOptions)
exports.scanIterator = (pattern, options) => defaultClient().scanIterator(pattern, options)
exports.lookupIterator = (prefix, codes, options) => defaultClient().lookupIterator(prefix, codes, options)
exports.deleteByPattern = async (pattern, options) => await defaultClient().deleteByPattern(pattern, options)
exports.bulkFetch = async (prefix, codes, loader, options) => await defaultClient().bulkFetch(prefix, codes, loader, options)
exports.bulkSet = async (items, options) => await defaultClient().bulkSet(items, options)
exports.bulkSyncCache = async (updates, deletions, options) => await defaultClient().bulkSyncCache(updates, deletions, options)
exports.configure = configure
exports.connect = async () => await defaultClient().connect()
exports.close = async () => await defaultClient().close()
exports.createClient = (options) => new Client(options)
exports.health = async () => await defaultClient().health()
exports.metrics = () => defaultClient().metrics()
exports.metricsText = () => defaultClient().metricsText()
exports.cacheGet = async (key) => await defaultClient().cacheGet(key)
exports.cacheSet = async (key, value, ttl) => await defaultClient().cacheSet(key, value, ttl)
exports.cacheDelPrefix = async (prefix) => await defaultClient().cacheDelPrefix(prefix)
exports.getCachedData = async (key) => await defaultClient().getCachedData(key)
exports.setCachedData = async (key, data, ttl) => await defaultClient().setCachedData(key, data, ttl)
exports.createCache = (name, options) => require('./lib/cache.js').createCache(defaultClient, name, options)
exports.createRateLimiter = (options) => require('./lib/rate-limit.js').createRateLimiter(defaultClient, options)
exports.rateLimitByIp = (limiter) => require('./lib/middleware.js').rateLimitByIp(limiter)
exports.rateLimitByKey = (limiter, keyOf) => require('./lib/middleware.js').rateLimitByKey(limiter, keyOf)
exports.RedisBulkError = errors.RedisBulkError
exports.ConnectionError = errors.ConnectionError
exports.TimeoutError = errors.TimeoutError
exports.ReplyError = errors.ReplyError
exports.ConfigError = errors.ConfigError
exports.BulkError = errors.BulkError
