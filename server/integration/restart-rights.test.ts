// SPDX-License-Identifier: Apache-2.0
/** --on-crash=restart: what each process that stays beside the server may still do, by the kernel's word. */
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { childrenOf, firstProcess, killServer, serverBelow } from './harness/serving-process.ts'
import { startSession } from './harness/session.ts'

const NOBODY = 65534
/** CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID, MKNOD, SETFCAP: a server's. */
const OF_A_SERVER = [0, 1, 2, 3, 4, 6, 7, 27, 31]
const SETPCAP = 8
const SYS_CHROOT = 18
const SYS_ADMIN = 21
/** For removing the sockets from a directory of whomever. */
const DAC_OVERRIDE = 1

interface Rights {
  readonly program: string
  readonly uid: number
  /** All sets of capabilities but the bounding one. */
  readonly capabilities: ReadonlySet<number>
  readonly filtered: boolean
  readonly noNewPrivileges: boolean
}

function rightsOf(pid: number): Rights {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').trim().split('\n')
  const field = (name: string): string =>
    lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 2) ?? ''
  const mask = ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'].reduce((all, set) => all | BigInt(`0x${field(set)}`), 0n)
  const numbers = Array.from({ length: 64 }, (_, number) => number)
  return {
    program: basename(readlinkSync(`/proc/${pid}/exe`)),
    uid: Number(field('Uid').split('\t')[0]),
    capabilities: new Set(numbers.filter((number) => ((mask >> BigInt(number)) & 1n) === 1n)),
    filtered: field('Seccomp') === '2',
    noNewPrivileges: field('NoNewPrivs') === '1',
  }
}

function descendants(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendants(child)])
}

test.each([
  ['namespace', 0, [SETPCAP, SYS_CHROOT, SYS_ADMIN]],
  ['namespace', NOBODY, [SETPCAP, SYS_CHROOT, SYS_ADMIN]],
  ['chroot', 0, [SETPCAP, SYS_CHROOT]],
  ['none', 0, [SETPCAP]],
  ['none', NOBODY, []],
] as const)('leaves each process the rights that it needs (%s, uid %i)', async (sandbox, uid, ofStarter) => {
  const { client, daemon } = await startSession({
    args: ['--on-crash=restart', `--sandbox=${sandbox}`],
    ...(uid === 0 ? {} : { uid }),
  })
  for (let servers = 1; servers <= 2; servers++) {
    const first = firstProcess(daemon)
    const server = serverBelow(daemon.pid) ?? 0
    const beside = (): number[] => descendants(daemon.pid).filter((pid) => pid !== first && pid !== server)
    // A predecessor's keeper would keep what the guest has closed since.
    await daemon.until(
      () => beside().length === 2,
      'the end of all but the server, its keeper and who starts the next one',
    )
    const others = beside()
    const keeper = others.find((pid) => rightsOf(pid).program === basename(process.execPath)) ?? 0
    const starter = others.find((pid) => pid !== keeper) ?? 0
    for (const pid of [daemon.pid, first, server, keeper, starter]) {
      expect(rightsOf(pid), String(pid)).toMatchObject({ uid, filtered: true, noNewPrivileges: true })
    }
    expect(rightsOf(keeper).capabilities).toEqual(new Set())
    const ofLauncher = uid === 0 ? [DAC_OVERRIDE] : []
    expect(rightsOf(daemon.pid).capabilities).toEqual(new Set(ofLauncher))
    if (first !== daemon.pid) expect(rightsOf(first).capabilities).toEqual(new Set())
    const { capabilities } = rightsOf(starter)
    const allowed = new Set<number>([...OF_A_SERVER, ...ofStarter])
    expect([...capabilities].filter((capability) => !allowed.has(capability))).toEqual([])
    expect([...ofStarter].filter((capability) => !capabilities.has(capability))).toEqual([])

    if (servers === 1) await killServer(daemon)
    expect(client.getattr(ROOT_ID).nlink).toBeGreaterThan(0)
  }
  daemon.signal('SIGTERM')
  expect(await daemon.exit()).toEqual({ code: 0, signal: null })
  expect(existsSync(daemon.socketPath)).toBe(false)
})
