// SPDX-License-Identifier: Apache-2.0
/** One guest: an unmodified QEMU under KVM with virtio-fs devices, driven through QMP and the agent. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EmulatorFault } from '../rig/emulator-fault.ts'
import { HARMLESS_IN_GUEST, kernelComplaints } from '../rig/kernel-log.ts'
import { Agent, type ScriptResult } from './agent.ts'
import { FaultWatch } from './fault-watch.ts'
import { sh } from './host.ts'
import { connectPatiently, Qmp } from './qmp.ts'

/** A virtio-fs device. `generic`: vhost-user-test-device-pci, which can have a window; `fs`: vhost-user-fs-pci. */
export interface FileSystemDevice {
  readonly socketPath: string
  readonly kind: 'generic' | 'fs'
  /** The tag, which only `fs` takes from QEMU; `generic` gets it from the daemon. */
  readonly tag: string
  /** Number of request queues (default 1). */
  readonly requestQueues?: number
}

export interface GuestOptions {
  /** Folder for sockets and logs. */
  readonly dir: string
  readonly kernelImage: string
  /** The first device is the root. */
  readonly devices: readonly FileSystemDevice[]
  readonly memoryMiB?: number
  /** Whether `moreArguments` have the guest's memory, by the name of `mem`. */
  readonly memoryGiven?: boolean
  readonly cpus?: number
  readonly rootFlags?: string
  readonly append?: readonly string[]
  /** Adds a console (hvc0) that listens on `<dir>/terminal.sock`. */
  readonly terminal?: boolean
  /** More of QEMU's command line. */
  readonly moreArguments?: readonly string[]
}

/** A guest boots in ten seconds; on a machine that emulates several hosts at once it has taken four minutes. */
const BOOT_TIMEOUT_MS = 600_000
/** To the end of QEMU after a guest was told to power off, likewise. */
const SHUTDOWN_TIMEOUT_MS = 600_000
/** Until QEMU listens: it talks to the daemons first. */
const START_TIMEOUT_MS = 300_000

function deviceArgv(device: FileSystemDevice, index: number): string[] {
  const queues = device.requestQueues ?? 1
  const common = `chardev=share${index}`
  const kind =
    device.kind === 'fs'
      ? `vhost-user-fs-pci,${common},tag=${device.tag},queue-size=1024,num-request-queues=${queues}`
      : // config_size: struct virtio_fs_config, tag[36] and num_request_queues; the first queue is hiprio.
        `vhost-user-test-device-pci,${common},virtio-id=26,num_vqs=${queues + 1},vq_size=1024,config_size=40`
  return ['-chardev', `socket,id=share${index},path=${device.socketPath}`, '-device', kind]
}

function qemuArgv(options: GuestOptions, token: string): string[] {
  const memory = options.memoryMiB ?? 1024
  const root = options.devices[0]
  if (root === undefined) throw new Error('a guest needs a root device')
  const cmdline = [
    'console=ttyS0 loglevel=5 panic=-1 mitigations=off random.trust_cpu=on watchdog_thresh=60',
    'rcupdate.rcu_cpu_stall_timeout=120 tsc=nowatchdog unknown_nmi_panic sysrq_always_enabled nohugevmalloc',
    `root=${root.tag} rootfstype=virtiofs rw ${options.rootFlags === undefined ? '' : `rootflags=${options.rootFlags}`}`,
    `init=/sbin/viewfsd-guest-init viewfsd.token=${token}`,
    ...(options.append ?? []),
  ]
  return [
    // Without an HPET: Linux would tick by it, and QEMU's main loop serves it, at a fifth of a nested host's CPU for an idle guest.
    ...'-nodefaults -no-user-config -display none -M q35,hpet=off -accel kvm -cpu host'.split(' '),
    ...`-smp ${options.cpus ?? 1} -m ${memory}M`.split(' '),
    ...(options.memoryGiven
      ? []
      : `-object memory-backend-memfd,id=mem,size=${memory}M,share=on -numa node,memdev=mem`.split(' ')),
    ...options.devices.flatMap(deviceArgv),
    ...(options.moreArguments ?? []),
    ...`-device virtio-serial-pci -chardev socket,id=agent,path=${options.dir}/agent.sock,server=on,wait=off`.split(
      ' ',
    ),
    ...'-device virtserialport,chardev=agent,name=agent,nr=1'.split(' '),
    ...(options.terminal ? terminalArgv(options.dir) : []),
    ...`-qmp unix:${options.dir}/qmp.sock,server=on,wait=off -serial chardev:console`.split(' '),
    '-chardev',
    `socket,id=console,path=${options.dir}/console.sock,server=on,wait=off,logfile=${options.dir}/console.log`,
    '-kernel',
    options.kernelImage,
    '-append',
    cmdline.join(' '),
  ]
}

function terminalArgv(dir: string): string[] {
  return `-chardev socket,id=terminal,path=${dir}/terminal.sock,server=on,wait=off -device virtconsole,chardev=terminal`.split(
    ' ',
  )
}

export class Guest {
  readonly options: GuestOptions
  readonly process: ChildProcess
  readonly qmp: Qmp
  readonly agent: Agent
  /** Of its agent. */
  readonly token: string
  readonly #watch: FaultWatch
  readonly #exited: Promise<string>
  /** It did not answer once; nothing will be asked of it again. */
  #lost = false

  private constructor(
    options: GuestOptions,
    token: string,
    child: ChildProcess,
    exited: Promise<string>,
    qmp: Qmp,
    agent: Agent,
  ) {
    this.options = options
    this.token = token
    this.process = child
    this.#exited = exited
    this.qmp = qmp
    this.agent = agent
    this.#watch = new FaultWatch(qmp, {
      complaints: () => this.complaints(),
      qemu: () => readFileSync(join(options.dir, 'qemu.log'), 'latin1'),
    })
  }

  /** Boots a guest and waits for its agent. */
  static boot(options: GuestOptions): Promise<Guest> {
    return Guest.#start(options, randomBytes(6).toString('hex'))
  }

  /** Starts a QEMU that waits for a guest to move in, with devices like its own: migration.ts. */
  static receive(
    from: Pick<Guest, 'options' | 'token'>,
    options: Pick<GuestOptions, 'dir' | 'devices'>,
  ): Promise<Guest> {
    return Guest.#start({ ...from.options, ...options }, from.token, true)
  }

  static async #start(options: GuestOptions, token: string, incoming = false): Promise<Guest> {
    mkdirSync(options.dir, { recursive: true })
    for (const name of ['agent.sock', 'qmp.sock', 'console.sock']) rmSync(join(options.dir, name), { force: true })
    const log = openSync(join(options.dir, 'qemu.log'), 'a')
    const child = spawn(
      'qemu-system-x86_64',
      [...qemuArgv(options, token), ...(incoming ? ['-incoming', 'defer'] : [])],
      { stdio: ['ignore', log, log] },
    )
    closeSync(log)
    const exited = new Promise<string>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code, signal) => resolve(signal ?? `exit status ${code}`))
    })
    const gone = exited.then((how) => {
      throw new Error(`QEMU ended (${how}): ${readFileSync(join(options.dir, 'qemu.log'), 'utf8').slice(-2000)}`)
    })
    gone.catch(() => {})
    try {
      const agent = new Agent(
        await Promise.race([connectPatiently(join(options.dir, 'agent.sock'), START_TIMEOUT_MS), gone]),
        token,
      )
      const qmp = await Promise.race([Qmp.connect(join(options.dir, 'qmp.sock'), START_TIMEOUT_MS), gone])
      const guest = new Guest(options, token, child, exited, qmp, agent)
      if (incoming) return guest
      await Promise.race([guest.#watch.during(agent.ready(BOOT_TIMEOUT_MS)), gone])
      return guest
    } catch (error) {
      child.kill('SIGKILL')
      if (error instanceof EmulatorFault) throw error
      const console = guestConsole(options.dir).slice(-3000)
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n--- guest console:\n${console}`, {
        cause: error,
      })
    }
  }

  /** Ends the guest where the emulator is at fault, since it may loop. */
  async #endAtFault<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      const fault = error instanceof EmulatorFault ? error : this.#watch.unfinishedDelivery()
      if (fault === undefined) throw error
      this.process.kill('SIGKILL')
      throw fault
    }
  }

  async run(script: string, timeoutMs?: number): Promise<ScriptResult> {
    if (this.#lost) throw new Error('the guest was given up before')
    try {
      return await this.#endAtFault(this.#watch.during(this.agent.run(script, timeoutMs)))
    } catch (error) {
      this.#lost = true
      if (!(error instanceof Error) || error instanceof EmulatorFault || this.process.exitCode !== null) throw error
      throw new Error(`${error.message}\n${await this.#autopsy()}`, { cause: error })
    }
  }

  /** Runs a script that must succeed; gives its output without the last newline. */
  async must(script: string, timeoutMs?: number): Promise<string> {
    const { status, output } = await this.run(script, timeoutMs)
    if (status !== 0) throw new Error(`in the guest, exit status ${status}: ${script}\n${output.slice(-4000)}`)
    return output.replace(/\n$/, '')
  }

  /** What the guest and its host were doing when the guest did not answer; the guest is of no use afterwards. */
  async #autopsy(): Promise<string> {
    const running = new Promise<string>((resolve) => setTimeout(resolve, 2000, 'is running').unref())
    const parts = [
      `--- QEMU: ${await Promise.race([this.#exited, running])}`,
      `--- processes of the host\n${sh('ps -eLo pid,tid,stat,pcpu,time,wchan:24,args --sort=-pcpu | head -30 | cut -c1-140')}`,
    ]
    const quick = async (command: Promise<unknown>) => {
      const late = new Promise<string>((resolve) => setTimeout(resolve, 10_000, 'QMP did not answer').unref())
      parts.push(String(await Promise.race([command, late]).catch(String)))
    }
    await quick(this.qmp.hmp('info status'))
    for (let sample = 0; sample < 3; sample++) await quick(this.qmp.hmp('info registers'))
    // What each waits for (SysRq w), then the stack of a running CPU (unknown_nmi_panic), both on the console.
    await quick(this.#sysRq('w'))
    await quick(this.qmp.command('inject-nmi'))
    await sleep(5000)
    return `--- guest console\n${guestConsole(this.options.dir).slice(-12_000)}\n${parts.join('\n')}`
  }

  /** Presses a SysRq key on the serial console (Documentation/admin-guide/sysrq.rst): a break, then the key. */
  async #sysRq(key: string): Promise<string> {
    const socket = await connectPatiently(join(this.options.dir, 'console.sock'), 5000)
    await this.qmp.command('chardev-send-break', { id: 'console' })
    socket.write(key)
    await sleep(5000)
    socket.destroy()
    return `SysRq ${key} sent`
  }

  /** Lets those who serve the guest go first, as on a host with more CPUs than guests: a server starts in less time. */
  goLast(): void {
    const pid = this.process.pid ?? 0
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), 10)
  }

  /** Reboots the guest from inside and waits for its agent. */
  async reboot(): Promise<void> {
    this.agent.post('sync; busybox reboot -f')
    await this.#endAtFault(this.#watch.duringReboot(this.agent.ready(BOOT_TIMEOUT_MS)))
  }

  /** Powers the guest off and waits for QEMU's end; kills it when that takes long. */
  async shutdown(): Promise<void> {
    this.agent.post('sync; busybox poweroff -f')
    const timer = setTimeout(() => this.process.kill('SIGKILL'), SHUTDOWN_TIMEOUT_MS)
    await this.#exited
    clearTimeout(timer)
    this.agent.close()
    this.qmp.close()
  }

  /** Ends QEMU at once, as a crash would. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.#exited
    this.agent.close()
    this.qmp.close()
  }

  /** Lines of the guest's console that tell of a kernel bug. */
  complaints(): string[] {
    return kernelComplaints(guestConsole(this.options.dir), HARMLESS_IN_GUEST)
  }
}

function guestConsole(dir: string): string {
  const path = join(dir, 'console.log')
  return existsSync(path) ? readFileSync(path, 'latin1') : ''
}
