// SPDX-License-Identifier: Apache-2.0
/**
 * The command line of the outer emulator: plain TCG with an emulated AMD-V, so that its guest has a KVM of its own.
 * Paths must not contain blanks; they are ours, below /srv.
 */

export interface OuterMachine {
  readonly kernelImage: string
  /** Image of the root, an ext4 file system; it becomes /dev/nvme0n1. NVMe and ext4 are built into Debian's kernels. */
  readonly root: string
  /** The nested host's first program, with its arguments. */
  readonly init: readonly [program: string, ...string[]]
  readonly memoryMiB: number
  readonly cpus: number
  /** Where the virtiofsd listens that shares what belongs to the run. */
  readonly sharedSocket: string
  readonly sharedTag: string
  /** Kernel messages, as a file. */
  readonly kernelLog: string
  /** Where its monitor listens, a UNIX socket. */
  readonly monitor: string
  /** A raw file that becomes /dev/vda. */
  readonly disk: string
  /** An Ethernet cable to another nested host. */
  readonly cable?: Cable
  /** More words for the kernel's command line. */
  readonly append: readonly string[]
}

/** One end of a cable: a UNIX socket that one of the two listens on. The machine has a virtio-net card there. */
export interface Cable {
  readonly socket: string
  readonly end: 1 | 2
}

/** The outer QEMU inside the host root, and where its data files lie. */
const OUTER_QEMU = '/opt/outer-qemu/usr/bin/qemu-system-x86_64'
const OUTER_DATA = ['/opt/outer-qemu/usr/share/qemu', '/usr/share/qemu', '/usr/share/seabios', '/usr/lib/ipxe/qemu']

function words(line: string): string[] {
  return line.split(' ')
}

/** Either end may come first, or come back; what is sent without the other is lost. */
function cableArgv(cable: Cable): string[] {
  const side = cable.end === 1 ? 'server=on' : 'server=off,reconnect-ms=200'
  return [
    ...words(`-netdev stream,id=cable,addr.type=unix,addr.path=${cable.socket},${side}`),
    ...words(`-device virtio-net-pci,netdev=cable,mac=52:54:00:00:00:0${cable.end},romfile=`),
  ]
}

/** argv of the outer QEMU. The command channel (hvc0) is its stdin and stdout. */
export function outerQemuArgv(machine: OuterMachine): string[] {
  const [init, ...initArguments] = machine.init
  const cmdline = [
    'console=ttyS0',
    'root=/dev/nvme0n1 rootfstype=ext4 ro',
    `init=${init}`,
    'panic=-1',
    'loglevel=6',
    'mitigations=off',
    'random.trust_cpu=on',
    'tsc=nowatchdog',
    'kvm.halt_poll_ns=0', // Polling for a guest's wake-up costs the emulator more than the wake-up.
    // A busy machine may leave an emulated CPU without time for long, or its timer late; these would report it as a fault.
    'watchdog_thresh=60',
    'no_timer_check',
    'rcupdate.rcu_cpu_stall_timeout=120',
    'nvme_core.io_timeout=600 nvme_core.admin_timeout=600',
    ...machine.append,
    '--',
    ...initArguments.map((word) => `"${word}"`),
  ]
  return [
    OUTER_QEMU,
    ...OUTER_DATA.flatMap((dir) => ['-L', dir]),
    ...words('-nodefaults -no-user-config -display none -no-reboot'),
    ...words(`-M q35 -accel tcg,thread=multi,tb-size=1024 -cpu max,svm=on -smp ${machine.cpus}`),
    ...words(`-m ${machine.memoryMiB}M -numa node,memdev=ram`),
    ...words(`-object memory-backend-memfd,id=ram,size=${machine.memoryMiB}M,share=on`),
    ...words(`-drive file=${machine.root},if=none,id=root,format=raw,readonly=on`),
    ...words('-device nvme,drive=root,serial=root'),
    ...words(`-chardev socket,id=shared,path=${machine.sharedSocket}`),
    ...words(`-device vhost-user-fs-pci,chardev=shared,tag=${machine.sharedTag},queue-size=1024`),
    ...words(`-drive file=${machine.disk},if=none,id=disk,format=raw,cache=unsafe,discard=unmap`),
    ...words('-device virtio-blk-pci,drive=disk,num-queues=1'),
    ...(machine.cable === undefined ? [] : cableArgv(machine.cable)),
    ...words('-device virtio-serial-pci -chardev stdio,id=command,signal=off -device virtconsole,chardev=command'),
    ...words(`-monitor unix:${machine.monitor},server=on,wait=off`),
    ...words(`-serial file:${machine.kernelLog} -kernel ${machine.kernelImage}`),
    '-append',
    cmdline.join(' '),
  ]
}
