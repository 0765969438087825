// SPDX-License-Identifier: Apache-2.0
/** `npm run manual`: puts the options into doc/viewfsd.1. */
import { readFileSync, writeFileSync } from 'node:fs'
import { withOptions } from './manual.ts'

const page = new URL('../../../doc/viewfsd.1', import.meta.url)
writeFileSync(page, withOptions(readFileSync(page, 'utf8')))
