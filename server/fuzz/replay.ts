// SPDX-License-Identifier: Apache-2.0
/** `node --conditions=testing dist/server/fuzz/replay.js TARGET PROGRAM`: runs one program, in base64, as a fuzzer has printed it. */
import { openTarget } from './targets/index.ts'

const [name = '', program = ''] = process.argv.slice(2)
const target = openTarget(name)
const outcomes = await target.run(new Uint8Array(Buffer.from(program, 'base64')))
process.stdout.write(`outcomes: ${[...outcomes].join(' ')}\n`)
await target.close()
process.exit(0)
