// SPDX-License-Identifier: Apache-2.0
/**
 * The part of `npm run test:move` that runs in each of the two nested hosts. A guest boots on the first, moves to the second and back, by path and by
 * file handle, while it works on storage that both share. Options come as JSON in VIEWFSD_MOVE.
 */
import { type FsDaemon, startVirtiofsd, startViewfsd, type Viewfsd } from '../guest/daemon.ts'
import { type FileSystemDevice, Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { guestKernel, loadModules, sh } from '../guest/host.ts'
import { expectGuest, guestHasCome, sendGuest } from '../guest/migration.ts'
import { endLoad, loadGoesOn, startLoad } from '../guest/moving-load.ts'
import { emulatorFaultAsStatus } from '../rig/emulator-fault.ts'
import { runMain, say, step } from '../rig/progress.ts'
import { Peer } from './peer.ts'
import { exportDisk, mountStorage } from './storage.ts'

/** What move.ts asks for. */
export interface MoveOptions {
  /** The first has the storage, and the guest at the beginning. */
  readonly host: 1 | 2
  readonly guestKernel: string
  readonly memoryMiB: number
  /** How each move tells inodes. */
  readonly moves: readonly ('find-paths' | 'file-handles')[]
}

const ADDRESS = { 1: '10.0.0.1', 2: '10.0.0.2' }
const STORAGE = '/shared'
const PORT = 7001

/** Of a file that the guest has open and that has no name any more: what is written before a move and after it. */
const NAMELESS = `exec 7>>/mnt/nameless 8</mnt/nameless; rm /mnt/nameless; echo before >&7; touch /mnt/nameless-open
until [ -e /mnt/nameless-end ]; do sleep 0.1; done; echo after >&7; cat <&8 >/mnt/nameless-text; rm /mnt/nameless-end`

interface Daemons {
  readonly root: FsDaemon
  readonly data: Viewfsd
}

function devices(daemons: Daemons): FileSystemDevice[] {
  return [
    { socketPath: daemons.root.socketPath, kind: 'fs', tag: 'root' },
    { socketPath: daemons.data.socketPath, kind: 'fs', tag: 'data' },
  ]
}

function expectIn(text: string, words: string, what: string): void {
  if (!text.includes(words)) throw new Error(`${what} does not have "${words}": ${text.slice(-4000)}`)
}

/** The guest, while it is here, and what serves it. */
interface Served {
  readonly guest: Guest
  readonly daemons: Daemons
}

/** One of the two. */
class Host {
  readonly #options: MoveOptions
  readonly #peer: Peer
  // The guest may not write to it: it is another one on each host, with the same files.
  readonly #root = makeGuestRoot('/run/guest')

  constructor(options: MoveOptions, peer: Peer) {
    this.#options = options
    this.#peer = peer
  }

  /** @param moves that the guest has behind it when these daemons serve it */
  async #daemons(moves: number): Promise<{ dir: string; daemons: Daemons }> {
    const modes = [this.#options.moves[moves - 1], this.#options.moves[moves]]
    const mode = modes.includes('file-handles') ? 'file-handles' : 'find-paths'
    const dir = `/out/guest/${moves}`
    const root = await startVirtiofsd(dir, 'root', this.#root, ['--cache=always'])
    const data = await startViewfsd(dir, 'data', STORAGE, ['--window=none', '--xattr', `--migration-mode=${mode}`])
    return { dir, daemons: { root, data } }
  }

  async boot(): Promise<Served> {
    const { dir, daemons } = await this.#daemons(0)
    const guest = await Guest.boot({
      dir,
      kernelImage: guestKernel(this.#options.guestKernel),
      devices: devices(daemons),
      memoryMiB: this.#options.memoryMiB,
      append: ['ro'],
    })
    await guest.must('mount -t virtiofs data /mnt')
    await startLoad(guest)
    return { guest, daemons }
  }

  /** Sends the guest away. The daemons go on until all has been looked at there. */
  async send({ guest, daemons }: Served, move: number): Promise<void> {
    const { moves } = this.#options
    const { options, token } = guest
    this.#peer.tell('guest', { options, token })
    const uri = String(await this.#peer.hear('expecting'))
    if (move === moves.indexOf('file-handles')) await beginNameless(guest)
    // Written by the time that the guest leaves, in a file that stays open.
    await guest.must(`exec 9>/mnt/written; seq ${move} 5000 | tee /run/written >&9
      setsid sleep infinity </dev/null >/dev/null 2>&1 & echo $! >/run/holder`)
    const { downtime, 'total-time': total } = await this.#peer.during(sendGuest(guest, uri))
    say(`move ${move + 1}, ${moves[move]}: ${total} ms, of which the guest stood still for ${downtime} ms`)
    expectIn(daemons.data.log(), 'the state of the device is saved', 'the log of the sender')
    await this.#peer.hear('has come')
    await guest.kill()
    for (const daemon of [daemons.root, daemons.data]) await daemon.end()
  }

  async receive(move: number): Promise<Served> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- from send
    const from = (await this.#peer.hear('guest')) as Pick<Guest, 'options' | 'token'>
    const { dir, daemons } = await this.#daemons(move + 1)
    const guest = await Guest.receive(from, { dir, devices: devices(daemons) })
    const uri = `tcp:${ADDRESS[this.#options.host]}:${PORT}`
    await expectGuest(guest, uri)
    this.#peer.tell('expecting', uri)
    await this.#peer.during(
      guestHasCome(guest).catch((error: unknown) => {
        throw new Error(`no guest has come: ${daemons.data.log().slice(-4000)}`, { cause: error })
      }),
    )
    expectIn(daemons.data.log(), 'the state of the device is loaded', 'the log of the receiver')
    // From the daemon, not from what the guest has kept.
    await guest.must(
      `dd if=/mnt/written iflag=direct bs=64k status=none | cmp - /run/written && kill $(cat /run/holder)`,
    )
    await loadGoesOn(guest)
    // It can't move again: once the other host has closed it, it has no name on the server, and by handle NFS opens none such.
    if (move === this.#options.moves.indexOf('file-handles')) await endNameless(guest)
    this.#peer.tell('has come')
    return { guest, daemons }
  }
}

async function beginNameless(guest: Guest): Promise<void> {
  await guest.must(`(${NAMELESS}) </dev/null >/dev/null 2>&1 &\nuntil [ -e /mnt/nameless-open ]; do sleep 0.1; done`)
}

async function endNameless(guest: Guest): Promise<void> {
  await guest.must(`touch /mnt/nameless-end; while [ -e /mnt/nameless-end ]; do sleep 0.1; done`)
  const nameless = await guest.must('cat /mnt/nameless-text')
  if (nameless !== 'before\nafter') throw new Error(`the file without a name has: ${nameless}`)
}

async function finish({ guest, daemons }: Served): Promise<void> {
  say(`the load has done ${await endLoad(guest)} rounds`)
  await guest.shutdown()
  for (const daemon of [daemons.root, daemons.data]) {
    const how = await daemon.exited
    if (how !== 'exit status 0') throw new Error(`${daemon.name} ended with ${how}`)
  }
}

async function main(): Promise<number> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by move.ts of this same build
  const options = JSON.parse(process.env['VIEWFSD_MOVE'] ?? '') as MoveOptions
  const { host: number, moves } = options
  const address = ADDRESS[number]
  loadModules()
  // NFS tells its clients by their names.
  sh(`hostname host${number}; modprobe virtio_net; ip address add ${address}/24 dev eth0; ip link set eth0 up`)
  if (number === 1) exportDisk(Object.values(ADDRESS))
  const peer = number === 1 ? await Peer.listen() : await Peer.call(ADDRESS[1])
  mountStorage(ADDRESS[1], address, STORAGE)
  const host = new Host(options, peer)
  let here = number === 1 ? await step('booting a guest', () => host.boot()) : undefined
  for (const [move, mode] of moves.entries()) {
    const what = `move ${move + 1}, ${mode}`
    const served = here
    if (served === undefined) {
      here = await step(`${what}: to host ${number}`, () => host.receive(move))
    } else {
      await step(`${what}: from host ${number}`, () => host.send(served, move))
      here = undefined
    }
  }
  const last = here
  if (last !== undefined) await step('the end', () => finish(last))
  peer.close()
  return 0
}

runMain(() => emulatorFaultAsStatus(main))
