// SPDX-License-Identifier: Apache-2.0
import * as fs from 'node:fs'

/** @returns bytes of memory that the tables of all shared directories of this process take */
export function tableMemory(): number {
  const maps = fs.readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const tables = maps.filter((map) => map.includes('/memfd:viewfsd-tables'))
  return tables.reduce((sum, map) => sum + 1024 * Number(/^Rss: +(\d+) kB$/m.exec(map)?.[1]), 0)
}
