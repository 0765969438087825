// SPDX-License-Identifier: Apache-2.0
/**
 * A libvirtd of the test's own on this machine: with mount, process and network namespaces in which the folders that it writes to
 * are below layers of their own. Whatever it starts ends with it, and it leaves nothing.
 */
import { type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { output, shellQuote, start, stop } from '../rig/command.ts'

const LIBVIRTD_CONF = `
auth_unix_ro = "none"
auth_unix_rw = "none"
`

/** What needs more of a machine than namespaces of our own have is off: cgroups, devices, other users, virtlogd. */
const QEMU_CONF = `
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
`

/** $1: an empty folder; $2: a folder for logs; $3: what to do before libvirtd starts; then its arguments. */
const ENTER = `
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
for name in /etc /usr/libexec /usr/share/qemu /var/cache /var/lib /var/log; do
  mkdir -p "$1$name/upper" "$1$name/work"
  mount -t overlay -o "lowerdir=$name,upperdir=$1$name/upper,workdir=$1$name/work" overlay "$name"
done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir -p /var/log/libvirt /etc/libvirt
# What QEMU would run as by default; the package with the system's service makes them.
for name in libvirt-qemu kvm; do
  grep -q "^$name:" /etc/group || echo "$name:x:64055:" >>/etc/group
done
grep -q '^libvirt-qemu:' /etc/passwd || echo 'libvirt-qemu:x:64055:64055::/nonexistent:/bin/false' >>/etc/passwd
mount --bind "$2" /var/log/libvirt
eval "$3"
shift 3
libvirtd "$@" &
# The first process of a namespace has to reap what libvirtd leaves to it, or that would seem to run on.
wait $!
`

export class Libvirtd {
  readonly #directory: string
  readonly #process: ChildProcess
  readonly #uri: string

  /**
   * @param directory an empty folder, for sockets and logs
   * @param prepare a shell script that runs in its namespaces first; a tmpfs is at `privateFolder(directory)`
   */
  constructor(directory: string, prepare: string) {
    this.#directory = directory
    for (const name of ['run', 'log']) mkdirSync(join(directory, name))
    const run = join(directory, 'run')
    mkdirSync(privateFolder(directory))
    const config = join(directory, 'libvirtd.conf')
    const logging = `log_filters = ""\nlog_outputs = "3:file:${directory}/log/libvirtd.log"\n`
    writeFileSync(config, `unix_sock_dir = "${run}"\n${logging}${LIBVIRTD_CONF}`)
    this.#uri = `qemu:///system?socket=${run}/libvirt-sock`
    const configure = `printf '%s' ${shellQuote(QEMU_CONF)} >/etc/libvirt/qemu.conf`
    const log = openSync(join(directory, 'log/output'), 'a')
    this.#process = start(
      [
        'unshare',
        '--mount',
        '--pid',
        '--net',
        '--fork',
        '--kill-child',
        '--mount-proc',
        'sh',
        '-ec',
        ENTER,
        'sh',
      ].concat([privateFolder(directory), join(directory, 'log'), `${configure}\n${prepare}`, '--config', config]),
      { stdio: ['ignore', log, log] },
    )
    closeSync(log)
  }

  /** Waits until it answers. */
  async ready(): Promise<void> {
    while (!existsSync(join(this.#directory, 'run/libvirt-sock'))) {
      if (this.#process.exitCode !== null) throw new Error(`libvirtd ended:\n${this.logs()}`)
      await sleep(50)
    }
    this.virsh('version')
  }

  /** The output of a virsh command that must succeed. */
  virsh(...args: readonly string[]): string {
    try {
      return output(['virsh', '--connect', this.#uri, ...args])
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${this.logs()}`, { cause: error })
    }
  }

  /** The ends of all that libvirtd, QEMU and the daemons have logged. */
  logs(): string {
    const folder = join(this.#directory, 'log')
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => `--- ${path}\n${readFileSync(path, 'utf8').slice(-3000)}`)
      .join('\n')
  }

  /** Ends it and all that it has started. */
  stop(): void {
    stop(this.#process)
  }
}

/** The folder that is a tmpfs in the namespaces of a Libvirtd in `directory`. */
export function privateFolder(directory: string): string {
  return join(directory, 'private')
}
