// SPDX-License-Identifier: Apache-2.0
/**
 * All that a guest, a frontend and a host's user can ask of a daemon behind closed doors: whatever system calls that takes
 * are on the list. VIEWFSD_TEST_NODES, paths with colons between them, names other versions of Node to try as well.
 */
import { chownSync, existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ALL_OPTIONS, everyOperation } from './harness/every-operation.ts'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { connectFrontend, outcome, startDevice } from './harness/session.ts'
import {
  DAX_INIT_FLAGS,
  makeFile,
  RANGE,
  READ,
  readCounters,
  startWindowSession,
  WRITE,
} from './harness/window-session.ts'

const NOBODY = 65534
const NODES = [process.execPath, ...(process.env.VIEWFSD_TEST_NODES ?? '').split(':').filter((path) => path !== '')]

describe.each(NODES)('with %s', (node) => {
  test.each([0, NOBODY])('as uid %i', async (uid) => {
    const session = await startWindowSession({ uid, node, queues: 4, args: ALL_OPTIONS })
    const { daemon } = session
    const operations = everyOperation(session, uid)
    const failed = operations.map(([name, operation]) => [name, outcome(operation)]).filter(([, how]) => how !== 'ok')
    expect(failed).toEqual([])
    expect(statSync(join(daemon.sharedDir, 'directory')).uid).toBe(uid)

    // The window: mappings, and the memory tables that follow them.
    const nodeid = makeFile(session, 'mapped', 2 * RANGE)
    chownSync(join(daemon.sharedDir, 'mapped'), uid, uid)
    session.client.setupMapping(nodeid, 0, RANGE, READ, 0)
    session.client.setupMapping(nodeid, RANGE, RANGE, READ | WRITE, 3 * RANGE)
    session.client.removeMapping(nodeid, [{ moffset: 0, length: RANGE }])
    expect(await readCounters(session)).toMatchObject({ mappingsSetUp: 2, mappingsRemoved: 1, live: 1 })

    // Stop and go, reset, and the next frontend, whose last queue starts a thread of its own.
    const bases = session.frontend.stop()
    session.frontend.resume(bases)
    session.client.getattr(ROOT_ID)
    session.frontend.reset()
    session.frontend.close()
    const next = startDevice(daemon, await connectFrontend(daemon, { queues: 6 }), {
      queues: 6,
      initFlags: DAX_INIT_FLAGS,
    })
    expect(next.client.lookup(ROOT_ID, 'file').attr.uid).toBe(uid)

    expect(basename(readFileSync(`/proc/${daemon.servingPid}/cmdline`, 'utf8').split('\0')[0] ?? '')).toBe(
      basename(node),
    )
    daemon.signal('SIGTERM')
    expect(await daemon.exit()).toEqual({ code: 0, signal: null })
    expect(existsSync(daemon.socketPath)).toBe(false)
  })
})
