// SPDX-License-Identifier: Apache-2.0
/** What a host's facts mean for a window, and what to do about each no. */
import { MIN_LIMIT } from '../descriptor-limit.ts'
import type { HostFacts } from './host-facts.ts'

/** yes; no: there can't be a window, or not in the sandbox; less: it works, not as well as it could. */
export type Verdict = 'yes' | 'less' | 'no'

export interface Finding {
  readonly name: string
  readonly verdict: Verdict
  /** What was found. */
  readonly found: string
  /** What to do, where the verdict is not yes. */
  readonly fix?: string
}

const WANTED_LIMIT = 1_000_000

export function judge(facts: HostFacts): Finding[] {
  return [
    kernel(facts),
    driver(facts),
    abi(facts),
    qemu(facts),
    kvm(facts),
    hugePages(facts),
    openFiles(facts),
    namespaces(facts),
  ]
}

function yes(name: string, found: string): Finding {
  return { name, verdict: 'yes', found }
}

function no(name: string, found: string, fix: string): Finding {
  return { name, verdict: 'no', found, fix }
}

/** Whether a version, "6.12.48-amd64" or in a sentence, is at least this one. */
function atLeast(version: string, major: number, minor: number): boolean {
  const [, first = '0', second = '0'] = /(\d+)\.(\d+)/.exec(version) ?? []
  return Number(first) > major || (Number(first) === major && Number(second) >= minor)
}

function kernel({ kernel: release }: HostFacts): Finding {
  if (atLeast(release, 6, 12)) return yes('kernel', `Linux ${release}`)
  return no('kernel', `Linux ${release}`, 'the memory_view driver needs Linux 6.12 or newer')
}

function driver({ driverAbi }: HostFacts): Finding {
  if (typeof driverAbi === 'number') return yes('module', '/dev/memory-view works')
  const fix =
    driverAbi === 'EACCES' || driverAbi === 'EPERM'
      ? 'run as root, or give this user read and write access to /dev/memory-view'
      : driverAbi === 'ENOTTY' || driverAbi === 'EINVAL'
        ? 'load the module that came with this viewfsd'
        : 'load the module (modprobe memory_view, or insmod memory_view.ko as built from kernel/)'
  return no('module', `/dev/memory-view: ${driverAbi}`, fix)
}

function abi({ driverAbi, programAbi }: HostFacts): Finding {
  if (typeof driverAbi !== 'number') return no('ABI', `viewfsd needs ${programAbi}`, 'first of all the module')
  if (driverAbi >= programAbi) return yes('ABI', `the driver's is ${driverAbi}, viewfsd needs ${programAbi}`)
  return no(
    'ABI',
    `the driver's is ${driverAbi}, viewfsd needs ${programAbi}`,
    'load the module that came with this viewfsd, after rmmod memory_view',
  )
}

function qemu({ qemu: version }: HostFacts): Finding {
  const fix = 'a window needs QEMU 11.1 or newer, with vhost-user-test-device-pci'
  if (version === undefined) return no('QEMU', 'no qemu-system-x86_64 in the PATH', fix)
  return atLeast(version, 11, 1) ? yes('QEMU', version) : no('QEMU', version, fix)
}

function kvm({ kvm: code }: HostFacts): Finding {
  if (code === undefined) return yes('KVM', '/dev/kvm works')
  const fix =
    code === 'EACCES' || code === 'EPERM'
      ? 'add this user to the group of /dev/kvm (usually kvm)'
      : 'load kvm_intel or kvm_amd; virtualization must be enabled in the firmware, or nested in the machine around this one'
  return no('KVM', `/dev/kvm: ${code}`, fix)
}

function hugePages({ hugePages: found }: HostFacts): Finding {
  const name = 'huge pages'
  if (found === undefined) {
    return {
      name,
      verdict: 'less',
      found: 'none',
      fix: 'a kernel with CONFIG_TRANSPARENT_HUGEPAGE maps files by 2 MiB',
    }
  }
  const text = `transparent: ${found.enabled}; shared memory: ${found.shmem}`
  if (found.shmem !== 'never' && found.shmem !== 'deny') return yes(name, text)
  const fix = "for the guest's memory: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled"
  return { name, verdict: 'less', found: text, fix }
}

function openFiles({ openFiles: limit }: HostFacts): Finding {
  const found = limit === Number.POSITIVE_INFINITY ? 'unlimited open files' : `${limit} open files`
  if (limit >= WANTED_LIMIT) return yes('limits', found)
  const fix = `raise the hard limit of open files to ${WANTED_LIMIT} (ulimit -Hn, LimitNOFILE=)`
  return { name: 'limits', verdict: limit < MIN_LIMIT ? 'no' : 'less', found, fix }
}

function namespaces({ namespaces: refusal, root }: HostFacts): Finding {
  const name = root ? 'namespaces' : 'user namespaces'
  if (refusal === undefined) return yes(name, '--sandbox=namespace can be had')
  const fix = root
    ? 'see /proc/sys/user/max_*_namespaces and what the container permits; or use --sandbox=chroot'
    : 'see /proc/sys/user/max_user_namespaces, /proc/sys/kernel/unprivileged_userns_clone and apparmor_restrict_unprivileged_userns; or use --sandbox=none'
  return no(name, refusal, fix)
}
