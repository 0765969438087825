// SPDX-License-Identifier: Apache-2.0
/**
 * The server is killed at each record that it writes to the journal of a ring, one after the other: before each instruction that begins a line
 * of native/virtio/queue_journal.h. With VIEWFSD_RECORDS=all for each kind of request, and before each line of what notes the end of a file
 * (native/fuse/repeated_append.cc), too; else for CREATE.
 */
import { constants, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { instructionsOf, KillAt } from './harness/kill-at.ts'
import { serverBelow } from './harness/serving-process.ts'
import { type Session, startSession } from './harness/session.ts'

const { O_APPEND, O_EXCL, O_RDWR } = constants
const ADDON = resolve(import.meta.dirname, '../../native/build/viewfsd.node')
/** Of those that take a request and give it back, by any of its ways. */
const FEWEST = 4

/** A request of its own. */
type Step = <Result>(request: () => Result) => Result
type Sequence = (session: Session, step: Step) => void

/** Whatever is done twice, or not at all, can be seen. */
const SEQUENCES: Readonly<Record<string, Sequence>> = {
  files: ({ client, daemon }, step) => {
    const { entry, fh } = step(() => client.create(ROOT_ID, 'file', O_RDWR | O_EXCL))
    const file = join(daemon.sharedDir, 'file')
    step(() => client.write(entry.nodeid, fh, 0, Buffer.from('one')))
    step(() => client.write(entry.nodeid, fh, 3, Buffer.from('two'), { open: O_APPEND }))
    expect(readFileSync(file, 'utf8')).toBe('onetwo')
    expect(step(() => Buffer.from(client.read(entry.nodeid, fh, 0, 100)).toString())).toBe('onetwo')
    expect(step(() => client.lookup(ROOT_ID, 'file')).nodeid).toBe(entry.nodeid)
    const second = step(() => client.open(entry.nodeid, O_RDWR))
    step(() => client.release(entry.nodeid, second))
    step(() => client.unlink(ROOT_ID, 'file'))
    expect(readdirSync(daemon.sharedDir)).toEqual([])
    step(() => client.release(entry.nodeid, fh))
    step(() => client.forget(entry.nodeid, 2))
  },
  names: ({ client, daemon }, step) => {
    const directory = step(() => client.mkdir(ROOT_ID, 'directory'))
    const { nodeid } = step(() => client.mknod(ROOT_ID, 'node', 0o100644))
    expect(step(() => client.link(nodeid, directory.nodeid, 'link')).nodeid).toBe(nodeid)
    step(() => client.rename(ROOT_ID, 'node', directory.nodeid, 'moved'))
    expect(readdirSync(join(daemon.sharedDir, 'directory'))).toEqual(['link', 'moved'])
    const open = step(() => client.opendir(directory.nodeid))
    const entries = step(() => client.readdirplus(directory.nodeid, open, 0n))
    expect(entries.map(({ name }) => name)).toContain('moved')
    step(() => client.releasedir(directory.nodeid, open))
    client.unlink(directory.nodeid, 'link')
    client.unlink(directory.nodeid, 'moved')
    expect(step(() => client.getattr(nodeid)).nlink).toBe(0)
    step(() => client.rmdir(ROOT_ID, 'directory'))
    expect(readdirSync(daemon.sharedDir)).toEqual([])
    step(() =>
      client.batchForget([
        { nodeid, lookups: 4 },
        { nodeid: directory.nodeid, lookups: 1 },
      ]),
    )
  },
}

function filesOf(pid = 0): string[] {
  const directory = `/proc/${pid}/fd`
  return readdirSync(directory)
    .map((fd) => readlinkSync(join(directory, fd)))
    .filter((path) => /^\/(file|node|directory)/.test(path))
}

const ALL = process.env['VIEWFSD_RECORDS'] === 'all'
const SOURCES = ALL ? ['queue_journal.h', 'repeated_append.cc'] : ['queue_journal.h']

test.each(ALL ? Object.keys(SEQUENCES) : ['files'])(
  'a server that is killed at each record, %s',
  {
    timeout: 3_600_000,
  },
  async (name) => {
    // So that an inode that is known costs a descriptor, which can be seen.
    const session = await startSession({ args: ['--on-crash=restart', '--inode-file-handles=never'] })
    const { client, daemon } = session
    const restarts = (): number => daemon.log.split('"server-restarted"').length - 1
    const instructions = SOURCES.flatMap((source) => instructionsOf(ADDON, source))

    /** Goes through the sequence, and kills at that instruction within that step. @returns whether it came there, and whether there is a next step */
    async function run(target: number, offset: number): Promise<{ killed: boolean; more: boolean }> {
      const pid = serverBelow(daemon.pid) ?? -1
      const before = restarts()
      let steps = 0
      SEQUENCES[name]?.(session, (request) => {
        if (steps++ !== target) return request()
        const kill = KillAt.instruction(pid, ADDON, offset)
        try {
          return request()
        } finally {
          kill.close()
        }
      })
      // Of the successor, where there is one.
      client.getattr(ROOT_ID)
      const killed = serverBelow(daemon.pid) !== pid
      if (killed) await daemon.until(() => restarts() > before, 'the next server')
      return { killed, more: steps > target + 1 }
    }

    for (let target = 0, more = true; more; target++) {
      const lines: number[] = []
      for (const { line, offset } of instructions) {
        const ran = await run(target, offset)
        more = ran.more && ALL
        if (ran.killed) lines.push(line)
      }
      console.log(`${name}, step ${target}: killed at the lines ${lines.join(', ')}`)
      expect(lines.length).toBeGreaterThanOrEqual(FEWEST)
    }
    // Nothing is known or open that the guest has given up.
    expect(filesOf(serverBelow(daemon.pid))).toEqual([])
  },
)
