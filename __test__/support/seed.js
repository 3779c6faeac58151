'use strict'

// Random input of a run comes from one seed: RB_SEED repeats a run. CI gives the same one each time, so that a change is
// what makes it fail; everybody else's runs look further.

const fc = require('fast-check')

process.env.RB_SEED ??= String(Date.now() % 2 ** 31)
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.RB_SEED) })
