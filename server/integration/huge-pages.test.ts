// SPDX-License-Identifier: Apache-2.0
/** Guest RAM in huge pages of 2 MiB, as hugetlbfs gives it: offsets and lengths of regions are not multiples of them. */
import { execFileSync } from 'node:child_process'
import { ftruncateSync, mkdtempSync, openSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { GuestMemory } from './harness/guest-memory.ts'
import { startSession } from './harness/session.ts'

const MIB = 1 << 20
const PAGE = 2 * MIB
const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'
const O_RDWR = 2
/** As a PC has it: low memory, a gap below 1 MiB, and what is above 4 GiB; a hole in the file between the last two. */
const LAYOUT = [
  { gpa: 0, sizeBytes: 0xa0000, fdOffset: 0 },
  { gpa: 0xc0000, sizeBytes: 16 * MIB - 0xc0000, fdOffset: 0xc0000 },
  { gpa: 0x1_0000_0000, sizeBytes: 3 * MIB, fdOffset: 19 * MIB },
]
const FILE_BYTES = 22 * MIB

/** A file of huge pages, which the machine has for as long as the test runs. */
function hugeFile(): number {
  const before = Number(readFileSync(POOL, 'utf8'))
  const wanted = before + FILE_BYTES / PAGE
  writeFileSync(POOL, String(wanted))
  const dir = mkdtempSync(join(tmpdir(), 'viewfsd-huge-'))
  execFileSync('mount', ['-t', 'hugetlbfs', '-o', 'pagesize=2M', 'viewfsd-test', dir])
  onTestFinished(() => {
    execFileSync('umount', ['-l', dir])
    rmdirSync(dir)
    writeFileSync(POOL, String(before))
  })
  expect(Number(readFileSync(POOL, 'utf8'))).toBe(wanted)
  const fd = openSync(join(dir, 'ram'), 'w+')
  ftruncateSync(fd, FILE_BYTES)
  return fd
}

test('requests and data in every region', async () => {
  const memory = new GuestMemory(LAYOUT, { fd: hugeFile(), pageBytes: PAGE })
  const { client } = await startSession({ guestMemory: memory })
  for (const [index, bytes] of [128 << 10, 5 * MIB, MIB].entries()) {
    memory.allocateFrom(index)
    const { entry, fh } = client.create(ROOT_ID, `file-${index}`, O_RDWR)
    const part = 64 << 10
    for (let offset = 0; offset < bytes; offset += part) {
      const data = Buffer.alloc(part, `region ${index} offset ${offset} `)
      client.write(entry.nodeid, fh, offset, data)
      expect(Buffer.from(client.read(entry.nodeid, fh, offset, part)).equals(data)).toBe(true)
    }
    client.release(entry.nodeid, fh)
  }
})
