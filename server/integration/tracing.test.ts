// SPDX-License-Identifier: Apache-2.0
/** The bpftrace one-liners of doc/tracing.md, on a daemon in its sandbox. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { text as allText } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { commandBlock } from '../../e2e/docs/blocks.ts'
import { MappingFlag, Opcode, ROOT_ID } from './harness/fuse-abi.ts'
import { startWindowSession } from './harness/window-session.ts'

const RANGE = 2 << 20
/** As this checkout has it. */
const ADDON = `addon=${resolve(import.meta.dirname, '../../native/build/viewfsd.node')}\n`

/** Runs a block of the page for so long, with requests meanwhile. @returns what it has printed */
async function traced(block: string, use: () => void, milliseconds: number): Promise<string> {
  const script = `${ADDON}exec ${block}`
  const tracer = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void tracer.kill('SIGKILL'))
  const said = [allText(tracer.stdout), allText(tracer.stderr)]
  const ended = once(tracer, 'exit')
  const until = Date.now() + milliseconds
  while (Date.now() < until && tracer.exitCode === null) {
    use()
    await delay(5)
  }
  tracer.kill('SIGINT')
  await ended
  return (await Promise.all(said)).join('')
}

test.each([
  ['doc/tracing.md', 'latencies', new RegExp(`^@ns\\[${Opcode.GETATTR}\\]:`, 'm')],
  ['doc/tracing.md', 'mapped', /^@\[\d+\]: [1-9]/m],
])('%s, the one-liner for %s', async (document, name, wanted) => {
  const { client, daemon } = await startWindowSession({ window: 'shmem' })
  writeFileSync(join(daemon.sharedDir, 'file'), Buffer.alloc(RANGE))
  const { nodeid } = client.lookup(ROOT_ID, 'file')
  const block = commandBlock(document, name).join('\n')
  const use = (): void => {
    client.getattr(nodeid)
    client.setupMapping(nodeid, 0, RANGE, MappingFlag.READ, 0)
    client.removeMapping(nodeid, [{ moffset: 0, length: RANGE }])
  }
  // It does not say when it has attached, and takes its time for that on a loaded machine.
  let said = ''
  for (let milliseconds = 2000; milliseconds <= 32_000 && !wanted.test(said); milliseconds *= 2)
    said = await traced(block, use, milliseconds)
  expect(said).toMatch(wanted)
})
