// SPDX-License-Identifier: Apache-2.0
/**
 * The other use of memory views: a VMM gives a vhost-user device process a view of its guest RAM instead of the RAM, and
 * takes parts of it back while the device runs. The device process is Rust virtiofsd, which knows nothing of views.
 */
import { closeSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { MemoryView, MemoryViewFlag } from '../../native/index.ts'
import { Opcode } from './harness/fuse-abi.ts'
import { GuestMemory, type MemoryRegion, type Segment } from './harness/guest-memory.ts'
import { connectFrontend, startDaemon, startDevice } from './harness/session.ts'
import { pack } from './harness/wire.ts'

const VIRTIOFSD = process.env.VIEWFSD_TEST_VIRTIOFSD ?? '/usr/libexec/virtiofsd'
const RAM_BYTES = 64 << 20
/** What is taken back: 2 MiB in the upper half, out of the allocator's way. */
const REVOKED = { gpa: 40 << 20, length: 2 << 20 }
const DATA_BYTES = 8192

/** Guest RAM that the backend sees through a view only; the VMM, this process, keeps the memfd. */
class ViewedGuestMemory extends GuestMemory {
  override readonly regions: readonly MemoryRegion[]
  readonly ramView: MemoryView

  constructor() {
    super([{ gpa: 0, sizeBytes: RAM_BYTES }])
    this.ramView = MemoryView.create(RAM_BYTES)
    const rights = MemoryViewFlag.READ | MemoryViewFlag.WRITE
    const result = this.ramView.map(0, RAM_BYTES, this.fd, 0, rights)
    if (result < 0) throw new Error(`guest RAM can't be mapped into a view: ${result}`)
    const viewFd = this.ramView.viewFd()
    onTestFinished(() => {
      this.ramView.close()
      closeSync(viewFd)
    })
    this.regions = [{ gpa: 0, sizeBytes: RAM_BYTES, userAddress: this.userAddress(0), fd: viewFd, fdOffset: 0 }]
  }
}

test('a device process serves requests through a view of guest RAM until a range is taken back', async () => {
  const daemon = startDaemon({ program: VIRTIOFSD, tag: '' })
  const content = Buffer.alloc(DATA_BYTES, 'shared file ')
  writeFileSync(join(daemon.sharedDir, 'source'), content)
  writeFileSync(join(daemon.sharedDir, 'target'), 'untouched')

  const memory = new ViewedGuestMemory()
  const frontend = await connectFrontend(daemon, { device: 'fs-pci' })
  const { client, transport } = startDevice(daemon, frontend, { device: 'fs-pci', guestMemory: memory })
  const source = client.open(client.lookup(1n, 'source').nodeid, 0)
  const { nodeid: sourceNode } = client.lookup(1n, 'source')
  const { nodeid: targetNode } = client.lookup(1n, 'target')
  const target = client.open(targetNode, 2)

  const readInto = (room: Segment): ReturnType<typeof transport.submit> =>
    transport.submit(Opcode.READ, sourceNode, ioArguments(source), { dataRoom: [room] })

  const elsewhere = { gpa: 48 << 20, length: DATA_BYTES }
  const inside = { gpa: REVOKED.gpa, length: DATA_BYTES }

  // Both work while the view shows all of RAM.
  for (const room of [elsewhere, inside]) {
    transport.wait(readInto(room))
    expect(Buffer.from(memory.bytes(room.gpa, room.length)).equals(content)).toBe(true)
  }

  // The VMM itself still sees and writes its RAM.
  memory.bytes(inside.gpa, inside.length).fill(0x5e)
  const faultsBefore = memory.ramView.info().faults
  expect(faultsBefore).toBeGreaterThan(0)
  expect(memory.ramView.unmap(REVOKED.gpa, REVOKED.length)).toBe(0)
  expect(memory.ramView.info().segments).toBe(2)

  // Requests elsewhere keep working.
  memory.bytes(elsewhere.gpa, elsewhere.length).fill(0)
  transport.wait(readInto(elsewhere))
  expect(Buffer.from(memory.bytes(elsewhere.gpa, elsewhere.length)).equals(content)).toBe(true)

  // A WRITE from there must not carry guest RAM to the file, a READ into it must not change guest RAM.
  const write = transport.submit(Opcode.WRITE, targetNode, ioArguments(target), { data: [inside] })
  expect(endedWithoutData(() => transport.wait(write), daemon)).toBe(true)
  expect(readFileSync(join(daemon.sharedDir, 'target'), 'latin1')).not.toContain('\x5e')
  if (daemon.alive) {
    const read = readInto(inside)
    expect(endedWithoutData(() => transport.wait(read), daemon)).toBe(true)
  }
  expect(memory.bytes(inside.gpa, inside.length).every((byte) => byte === 0x5e)).toBe(true)
})

/** Whether the request ended in an error reply or in the death of the device process. */
function endedWithoutData(wait: () => unknown, daemon: { readonly alive: boolean }): boolean {
  try {
    wait()
    return false
  } catch (error) {
    return !daemon.alive || (error instanceof Error && error.name === 'FuseError')
  }
}

/** struct fuse_read_in; struct fuse_write_in has the same fields in the same places. */
function ioArguments(fh: bigint): Uint8Array {
  return pack(['u64', fh], ['u64', 0], ['u32', DATA_BYTES], ['u32', 0], ['u64', 0], ['u32', 0], ['u32', 0])
}
