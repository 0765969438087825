// SPDX-License-Identifier: Apache-2.0
/** What sandbox-probe.ts tries from inside of the sandbox. */

type RawSyscall = (number: number, ...args: (number | string | Uint8Array)[]) => number

/** The part of `require` that is used. */
type Require = (name: string) => never

/**
 * Tries one door and prints `{"door":...,"result":...}`: an errno's negative, an error's code or what was reached.
 * Uses nothing but its parameters: its text is what a worker thread runs. Numbers of system calls are x86-64's.
 */
export function tryDoor(require: Require, addonPath: string, procFds: number, door: string): void {
  const fs: typeof import('node:fs') = require('node:fs')
  const module: { exports: { rawSyscall?: RawSyscall } } = { exports: {} }
  process.dlopen(module, addonPath)
  const raw: RawSyscall = module.exports.rawSyscall ?? (() => Number.NaN)
  const cwd = -100
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- the function's text has to be complete
  const code = (action: () => unknown): unknown => {
    try {
      return action()
    } catch (error) {
      return error instanceof Error && 'code' in error ? error.code : String(error)
    }
  }
  const doors: Record<string, () => unknown> = {
    // Paths of the host.
    'host file': () => code(() => fs.readFileSync('/etc/passwd', 'utf8')),
    'proc of the host': () => code(() => fs.readdirSync('/proc')),
    'above the root': () => code(() => fs.readdirSync('/../../..').join()),
    'above the descriptors': () => code(() => raw(257, procFds, '../status', 0)),
    // What "..", asked of the descriptors' directory, has: the directory itself.
    'parent of the descriptors': () => {
      const parent = raw(257, procFds, '..', 0o200000)
      const [one, two] = [fs.fstatSync(parent), fs.fstatSync(procFds)]
      return one.ino === two.ino && one.dev === two.dev ? 'itself' : 'another directory'
    },
    'device node': () => {
      const made = raw(133, '/door', 0o020666, 0x0101)
      return made < 0 ? made : raw(257, cwd, '/door', 0)
    },
    'code of a file': () => {
      const fd = fs.openSync('/file', 'r')
      return raw(9, 0, 4096, 5, 2, fd, 0)
    },
    // Where Node asks for its own name on other architectures.
    'link of a guest': () => {
      const made = raw(266, 'x', cwd, '/link')
      return made < 0 ? made : raw(267, cwd, '/link', new Uint8Array(8), 8)
    },
    // Ways around the filter.
    io_uring: () => raw(425, 8, new Uint8Array(120)),
    // As large as those that the daemon has made before.
    'io_uring of ours': () => raw(425, 255, new Uint8Array(120)),
    io_uring_register: () => raw(427, 0, 0, 0, 0),
    clone3: () => raw(435, new Uint8Array(88), 88),
    x32: () => raw(0x40000000 + 39),
    // What kills.
    'unix socket': () => raw(41, 1, 1, 0),
    'internet socket': () => raw(41, 2, 1, 0),
    connect: () => raw(42, 0, new Uint8Array(110), 110),
    bind: () => raw(49, 0, new Uint8Array(110), 110),
    execve: () => raw(59, '/file', 0, 0),
    execveat: () => raw(322, cwd, '/file', 0, 0, 0),
    fork: () => raw(57),
    'process by clone': () => raw(56, 17, 0, 0, 0, 0),
    kill: () => raw(62, 1, 0),
    ptrace: () => raw(101, 16, 1, 0, 0),
    process_vm_readv: () => raw(310, 1, 0, 0, 0, 0, 0),
    mount: () => raw(165, 'none', '/', 'proc', 0, 0),
    chroot: () => raw(161, '/'),
    pivot_root: () => raw(155, '/', '/'),
    setns: () => raw(308, 0, 0),
    'new user namespace': () => raw(272, 0x10000000),
    open_tree: () => raw(428, cwd, '/', 1),
    ioctl: () => raw(16, 0, 0x5412, new Uint8Array(1)),
    prctl: () => raw(157, 22, 2, 0),
    bpf: () => raw(321, 0, 0, 0),
    memfd_create: () => raw(319, 'x', 0),
    finit_module: () => raw(313, 0, '', 0),
    process: () =>
      code(() => (require('node:child_process') as typeof import('node:child_process')).execFileSync('/file')),
  }
  const attempt = doors[door]
  fs.writeSync(1, JSON.stringify({ door, result: attempt === undefined ? 'no such door' : attempt() }))
}
