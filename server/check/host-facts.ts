// SPDX-License-Identifier: Apache-2.0
/** What `viewfsd check` looks at on this host; judged in judge.ts. */
import { spawnSync } from 'node:child_process'
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { MemoryView, memoryViewAbiVersion } from '../../native/index.ts'

export interface HostFacts {
  /** uname -r */
  readonly kernel: string
  readonly root: boolean
  /** The driver's ABI, or the code of the error of /dev/memory-view. */
  readonly driverAbi: number | string
  readonly programAbi: number
  /** The first line of qemu-system-x86_64 --version; undefined: not in the PATH. */
  readonly qemu: string | undefined
  /** undefined: /dev/kvm can be used; else the error's code. */
  readonly kvm: string | undefined
  /** Of /sys/kernel/mm/transparent_hugepage, the chosen word of each; undefined: a kernel without. */
  readonly hugePages: { readonly enabled: string; readonly shmem: string } | undefined
  /** The hard limit of open files. */
  readonly openFiles: number
  /** undefined: namespaces can be made as --sandbox=namespace makes them; else what the attempt says. */
  readonly namespaces: string | undefined
}

export function gatherFacts(): HostFacts {
  const root = process.geteuid?.() === 0
  return {
    kernel: release(),
    root,
    driverAbi: driverAbi(),
    programAbi: memoryViewAbiVersion,
    qemu: qemuVersion(),
    kvm: codeOf(() => closeSync(openSync('/dev/kvm', 'r+'))),
    hugePages: hugePages(),
    openFiles: openFiles(),
    namespaces: namespaces(root),
  }
}

function driverAbi(): number | string {
  let abi = -1
  const code = codeOf(() => {
    const view = new MemoryView('/dev/memory-view')
    try {
      abi = view.info().abiVersion
    } finally {
      view.close()
    }
  })
  return code ?? abi
}

function qemuVersion(): string | undefined {
  const { status, stdout } = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' })
  return status === 0 ? stdout.split('\n')[0] : undefined
}

function hugePages(): HostFacts['hugePages'] {
  try {
    accessSync('/sys/kernel/mm/transparent_hugepage', constants.R_OK)
  } catch {
    return undefined
  }
  return { enabled: chosen('enabled'), shmem: chosen('shmem_enabled') }
}

/** The word in brackets. */
function chosen(name: string): string {
  const words = readFileSync(`/sys/kernel/mm/transparent_hugepage/${name}`, 'utf8')
  return /\[([^\]]+)\]/.exec(words)?.[1] ?? 'unknown'
}

function openFiles(): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard)
}

/** Only an attempt knows: sysctls, AppArmor, seccomp filters and containers all have a say. */
function namespaces(root: boolean): string | undefined {
  const flags = ['--mount', '--pid', '--net', '--fork', ...(root ? [] : ['--user'])]
  const { error, status, stderr } = spawnSync('unshare', [...flags, 'true'], { encoding: 'utf8' })
  if (error !== undefined) return `unshare(1): ${error.message}`
  return status === 0 ? undefined : (stderr.split('\n')[0] ?? '')
}

function codeOf(action: () => void): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}
