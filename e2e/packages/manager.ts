// SPDX-License-Identifier: Apache-2.0
/** A real systemd as the first process of namespaces of its own, on a layer over a root; all of it ends with {@link Manager.stop}. */
import type { ChildProcess } from 'node:child_process'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { output, shellQuote, start, stop } from '../rig/command.ts'

/** Where the folder is that both sides have. */
export const SHARED = '/srv/shared'

/** $1: the root; $2: the folder to share; $3: SHARED. */
const BOOT = `
ROOT=/mnt/root
mount -t tmpfs -o size=4g,mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work "$ROOT"
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" overlay "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t sysfs -o ro sysfs "$ROOT/sys"
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
mkdir "$ROOT/dev/pts" "$ROOT/dev/shm"
for name in null zero full random urandom tty; do
  : >"$ROOT/dev/$name"
  mount --bind "/dev/$name" "$ROOT/dev/$name"
done
mount -t devpts -o newinstance,ptmxmode=666 devpts "$ROOT/dev/pts"
mount -t tmpfs tmpfs "$ROOT/dev/shm"
ln -s pts/ptmx "$ROOT/dev/ptmx"
ln -s /proc/self/fd "$ROOT/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
mkdir -p "$ROOT$3"
mount --bind "$2" "$ROOT$3"
cd "$ROOT"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
exec env -i container=viewfsd PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --show-status=0`

const CLEAN_UP = `until find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.1; done`

/** Where this machine has the one hierarchy that systemd wants, as its only one or beside others. */
function cgroups(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  const found = mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')
  if (found?.[1] === undefined) throw new Error('no cgroup2 is mounted')
  return found[1]
}

export class Manager {
  readonly #process: ChildProcess
  readonly #cgroup: string
  #log = ''

  /**
   * @param root is left as it is
   * @param shared a folder that is SHARED inside
   */
  constructor(root: string, shared: string) {
    this.#cgroup = join(cgroups(), `viewfsd-test-${process.pid}`)
    mkdirSync(this.#cgroup)
    const enter = `echo $$ >${shellQuote(join(this.#cgroup, 'cgroup.procs'))}`
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup', '--fork', '--kill-child']
    const boot = ['unshare', ...namespaces, 'sh', '-ec', BOOT, 'sh', root, shared, SHARED].map(shellQuote).join(' ')
    this.#process = start(['sh', '-ec', `${enter}; exec ${boot}`], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#log += chunk.toString()
      })
  }

  /** What the first process is for this machine. */
  get #pid(): number {
    const parent = this.#process.pid ?? 0
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim()
    return Number(children.split(' ')[0])
  }

  /** Waits until it has started what it starts. */
  async ready(): Promise<void> {
    for (;;) {
      if (this.#process.exitCode !== null) throw new Error(`systemd ended:\n${this.#log}`)
      const { stdout } = this.#spawn('systemctl is-system-running')
      if (/^(running|degraded)/.test(stdout)) return
      await sleep(200)
    }
  }

  #spawn(script: string): { status: number | null; stdout: string; stderr: string } {
    const enter = ['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup', '--root', '--wd']
    return spawnSync('nsenter', [`--target=${this.#pid}`, ...enter, 'sh', '-ec', script], { encoding: 'utf8' })
  }

  /** For this machine, what is `path` there. */
  path(path: string): string {
    return `/proc/${this.#pid}/root${path}`
  }

  /** @returns what the script printed, without the last line break. @throws Error unless it ends with 0 */
  run(script: string): string {
    const { status, stdout, stderr } = this.#spawn(script)
    if (status !== 0) {
      const journal = this.#spawn('journalctl --no-pager -n 30 -o cat').stdout
      throw new Error(`${script}\nended with ${status}:\n${stdout}${stderr}\n${journal}`)
    }
    return stdout.trimEnd()
  }

  stop(): void {
    stop(this.#process)
    // What has been killed may still be there.
    output(['sh', '-c', CLEAN_UP, 'sh', this.#cgroup])
  }
}
