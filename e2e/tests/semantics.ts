// SPDX-License-Identifier: Apache-2.0
/**
 * What POSIX and Linux say of a file system, in a guest: `semantics:` with what is usual, `semantics-more:` with the other
 * options and host file systems. By hand, for they are long (--tests '^semantics'); e2e/guest/tools/semantics are the checks,
 * and say what the traits mean.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type FsDaemon, startViewfsd, startVirtiofsd, type Viewfsd } from '../guest/daemon.ts'
import { Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { sh } from '../guest/host.ts'
import { check, equal, selected, suite, test } from './harness.ts'
import type { Rig } from './session.ts'

interface Share {
  readonly name: string
  readonly args: readonly string[]
  readonly mount?: string
  readonly traits: string
  /** Classes of checks; all where none are given. */
  readonly classes?: string
  /** The file system of the host, in a file of its own; that of the rig where none is given. */
  readonly hostFileSystem?: 'xfs' | 'btrfs'
}

const NO_WINDOW = '--window=none'
/** What attributes of all kinds and inode flags need, beyond what the sandbox leaves by default. */
const ALL_KINDS = ['--xattr', '--modcaps=+sys_admin:+linux_immutable']
const WINDOW = ['--window=memory-view', '--window-size=64M']

const USUAL: readonly Share[] = [
  { name: 'auto', args: [NO_WINDOW, '--cache=auto', '--posix-acl'], traits: 'fuse,acl,sparse-copies' },
  // What a guest that keeps attributes and pages may get wrong.
  {
    name: 'always',
    args: [NO_WINDOW, '--cache=always', '--killpriv-v2'],
    traits: 'fuse,killpriv-v2,sparse-copies',
    classes: 'setid open times allocation lifetime mapping',
  },
  // The guest clears set-id bits itself there, whatever was asked for.
  {
    name: 'dax',
    args: [...WINDOW, '--cache=auto', '--killpriv-v2'],
    mount: 'dax=always',
    traits: 'fuse,dax,sparse-copies',
  },
]

const MORE: readonly Share[] = [
  {
    name: 'cached',
    args: [NO_WINDOW, '--cache=always', '--killpriv-v2'],
    traits: 'fuse,killpriv-v2,sparse-copies',
  },
  { name: 'never', args: [NO_WINDOW, '--cache=never', '--allow-mmap'], traits: 'fuse,direct,sparse-copies' },
  {
    name: 'metadata',
    args: [NO_WINDOW, '--cache=metadata', '--allow-mmap', '--allow-direct-io', '--preserve-noatime'],
    traits: 'fuse,direct,sparse-copies',
  },
  {
    name: 'writeback',
    args: [NO_WINDOW, '--cache=always', '--writeback', '--killpriv-v2', '--posix-acl'],
    traits: 'fuse,writeback,acl,killpriv-v2,sparse-copies',
  },
  {
    name: 'locks',
    args: [NO_WINDOW, '--posix-locks', '--flocks', '--inode-file-handles=never'],
    traits: 'fuse,remote,sparse-copies',
  },
  {
    name: 'names',
    args: [NO_WINDOW, '--xattrmap=:map:trusted.:trusted.virtiofs.:', '--cache=always'],
    traits: 'fuse,sparse-copies',
    classes: 'xattr setid',
  },
  {
    name: 'daxcached',
    args: [...WINDOW, '--cache=always', '--posix-acl', '--writeback'], // which a window rules out
    mount: 'dax=always',
    traits: 'fuse,dax,acl,sparse-copies',
  },
  {
    name: 'labels',
    args: [NO_WINDOW, '--security-label', '--xattrmap=:map:security.selinux:user.virtiofs.:'],
    traits: 'fuse,sparse-copies',
    classes: 'xattr credentials tmpfile',
  },
  { name: 'inode', args: [...WINDOW, '--dax-policy=64K'], traits: 'fuse,dax,sparse-copies' },
  {
    name: 'xfs',
    args: [NO_WINDOW, '--inode-file-handles=mandatory', '--posix-acl'],
    traits: 'fuse,acl,sparse-copies',
    hostFileSystem: 'xfs',
  },
  {
    name: 'btrfs',
    args: [NO_WINDOW, '--inode-file-handles=mandatory', '--posix-acl'],
    traits: 'fuse,acl,sparse-copies',
    hostFileSystem: 'btrfs',
  },
]

/** A guest with each share mounted at /mnt/NAME, and each shared folder of the host. */
class SemanticsGuest {
  readonly guest: Guest
  readonly daemons: ReadonlyMap<string, Viewfsd>
  readonly #data: string
  readonly #rootDaemon: FsDaemon

  private constructor(guest: Guest, daemons: ReadonlyMap<string, Viewfsd>, data: string, rootDaemon: FsDaemon) {
    this.guest = guest
    this.daemons = daemons
    this.#data = data
    this.#rootDaemon = rootDaemon
  }

  static async boot(rig: Rig, shares: readonly Share[]): Promise<SemanticsGuest> {
    const { data, run } = rig
    const rootDir = join('/run', basename(data))
    const rootDaemon = await startVirtiofsd(rootDir, 'root', makeGuestRoot(rootDir), ['--cache=always'])
    for (const { name, hostFileSystem } of shares) {
      mkdirSync(join(data, name), { recursive: true })
      if (hostFileSystem !== undefined) mountImage(hostFileSystem, `${join(data, name)}.img`, join(data, name))
    }
    const started = shares.map(({ name, args }) => startViewfsd(run, name, join(data, name), [...ALL_KINDS, ...args]))
    const daemons = new Map((await Promise.all(started)).map((daemon) => [daemon.name, daemon]))
    const guest = await Guest.boot({
      dir: run,
      kernelImage: rig.guestKernel,
      devices: [
        { socketPath: rootDaemon.socketPath, kind: 'fs', tag: 'root' },
        ...shares.map(({ name, args }) => ({
          socketPath: daemons.get(name)?.socketPath ?? '',
          kind: args.includes(NO_WINDOW) ? ('fs' as const) : ('generic' as const),
          tag: name,
        })),
      ],
      // Labels come from a security module; without a policy it forbids nothing.
      append: shares.some(({ name }) => name === 'labels') ? ['security=selinux selinux=1'] : [],
    })
    for (const { name, mount } of shares)
      await guest.must(`mkdir -p /mnt/${name} && mount -t virtiofs ${mount ? `-o ${mount}` : ''} ${name} /mnt/${name}`)
    return new SemanticsGuest(guest, daemons, data, rootDaemon)
  }

  /** A place in a shared folder, on the host. */
  at(share: string, name: string): string {
    return join(this.#data, share, name)
  }

  async counter(share: string, name: string): Promise<number> {
    return (await this.daemons.get(share)?.counters())?.get(name) ?? 0
  }

  async destroy(): Promise<void> {
    await this.guest.shutdown()
    for (const daemon of this.daemons.values()) await daemon.end()
    await this.#rootDaemon.end()
  }
}

function mountImage(type: 'xfs' | 'btrfs', image: string, mountPoint: string): void {
  sh(
    `modprobe loop; modprobe ${type}; truncate -s 4G ${image}; mkfs.${type} -q -f -K ${image}; mount -o loop ${image} ${mountPoint}`,
  )
}

/** Runs a program that prints what went wrong; the test's message is what it printed, less what went well. */
async function runChecks(guest: Guest, command: string): Promise<void> {
  const { status, output } = await guest.run(command, 900_000)
  const said = output.split('\n').filter((line) => !line.startsWith('ok '))
  check(status === 0, said.join('\n'))
}

/** @param operations random ones on each share */
async function everyShare(
  title: string,
  vm: SemanticsGuest,
  shares: readonly Share[],
  operations: number,
): Promise<void> {
  for (const { name, traits, classes = '' } of shares) {
    const on = (what: string) => `${title}: ${name}: ${what}`
    const folder = `/mnt/${name}`
    await test(on('what POSIX and Linux say'), () =>
      runChecks(vm.guest, `mkdir ${folder}/checks && /root/semantics -t ${traits} ${folder}/checks ${classes}`),
    )
    if (classes !== '') continue
    await test(on('random operations, beside a model'), () =>
      runChecks(vm.guest, `mkdir ${folder}/model && /root/file-model -n ${operations} ${folder}/model`),
    )
    await test(on('several processes at once'), () =>
      runChecks(vm.guest, `mkdir ${folder}/mix && /root/fs-mix -p 3 -n ${operations / 3} ${folder}/mix`),
    )
  }
}

/** A program of the guest that has a file mapped, and answers what it sees there. */
class Mapping {
  readonly #guest: Guest
  readonly #pipe: string

  private constructor(guest: Guest, pipe: string) {
    this.#guest = guest
    this.#pipe = pipe
  }

  static async of(guest: Guest, file: string): Promise<Mapping> {
    const pipe = `/run/mapping-${file.replaceAll('/', '-')}`
    await guest.must(
      `mkfifo ${pipe} ${pipe}.answer; (/root/dax-io talk ${file} <>${pipe} >${pipe}.answer 2>&1 &) 3<>${pipe}.answer`,
    )
    return new Mapping(guest, pipe)
  }

  ask(line: string): Promise<string> {
    return this.#guest.must(`echo '${line}' >${this.#pipe}; head -n 1 ${this.#pipe}.answer`)
  }
}

async function withTheHost(title: string, vm: SemanticsGuest): Promise<void> {
  const { guest } = vm
  await test(`${title}: dax: a mapping of the guest and the host's file are one memory`, async () => {
    const path = vm.at('dax', 'both')
    writeFileSync(path, 'from the host'.padEnd(8192))
    const mapping = await Mapping.of(guest, '/mnt/dax/both')
    equal(await mapping.ask('r'), 'from the', 'what the guest sees at first')
    writeFileSync(path, 'a change', { flag: 'r+' })
    equal(await mapping.ask('r'), 'a change', 'what the guest sees after a write of the host')
    await mapping.ask('w answered')
    equal(readFileSync(path, 'latin1').slice(0, 8), 'answered', 'what the host sees after a store of the guest')
  })

  await test(`${title}: auto: submounts are file systems of their own, and are synced`, async () => {
    mkdirSync(vm.at('auto', 'sub'))
    sh(`mount -t tmpfs none ${vm.at('auto', 'sub')}; echo there >${vm.at('auto', 'sub')}/file`)
    const before = await vm.counter('auto', 'fuse.requests.SYNCFS')
    await guest.must(
      `cd /mnt/auto; test "$(cat sub/file)" = there; test "$(stat -c %d .)" != "$(stat -c %d sub)"
       grep -q ' /mnt/auto/sub ' /proc/self/mountinfo; ! ln sub/file here 2>/dev/null; ! rmdir sub 2>/dev/null
       mv sub/file here; test "$(cat here)" = there; echo more >sub/second; sync -f sub/second`,
    )
    check((await vm.counter('auto', 'fuse.requests.SYNCFS')) > before, 'no SYNCFS came for the submount')
    equal(sh(`cat ${vm.at('auto', 'sub')}/second`), 'more\n', 'what the guest wrote in the submount')
    await guest.must('umount /mnt/auto/sub')
    // The daemon keeps it as long as the guest knows an inode of it.
    sh(`umount -l ${vm.at('auto', 'sub')}`)
  })
}

/** Shell: holds flock(2) on a file until the process in /run/holder ends, which has the only descriptor of it. */
function hold(file: string): string {
  return `(flock -x 9; echo >/run/held; exec sleep 10000) 9>>${file} >/dev/null 2>&1 & echo $! >/run/holder
until [ -e /run/held ]; do :; done`
}

async function withTheHostAndOptions(title: string, vm: SemanticsGuest): Promise<void> {
  const { guest } = vm
  await test(`${title}: locks: the host's locks are in the guest's way, and the other way round`, async () => {
    const path = vm.at('locks', 'locked')
    writeFileSync(path, '')
    sh(hold(path))
    const { status } = await guest.run('flock -n /mnt/locks/locked true')
    sh('kill $(cat /run/holder)')
    equal(status, 1, "the guest's flock -n")
    await guest.must(hold('/mnt/locks/locked'))
    equal(sh(`flock -n ${path} true || echo refused`), 'refused\n', "the host's flock -n")
    await guest.must('kill $(cat /run/holder); flock /mnt/locks/locked true')
  })

  await test(`${title}: names: trusted attributes have another name on the host`, async () => {
    await guest.must(`touch /mnt/names/named; setfattr -n trusted.x -v 1 /mnt/names/named`)
    equal(
      sh(`getfattr -h --absolute-names -m - ${vm.at('names', 'named')} | grep trusted`),
      'trusted.virtiofs.trusted.x\n',
      "the attribute's name on the host",
    )
  })

  await test(`${title}: labels: what the guest makes has its label from the start`, async () => {
    await guest.must('cd /mnt/labels; mkdir dir; touch dir/file; ln -s x dir/link; mkfifo dir/fifo')
    for (const name of ['dir', 'dir/file', 'dir/link', 'dir/fifo'])
      check(
        sh(`getfattr -h --absolute-names --only-values -n security.selinux ${vm.at('labels', name)} || true`) !== '',
        `${name} has no label on the host`,
      )
  })

  await test(`${title}: inode: large files are in the window, small ones are not`, async () => {
    writeFileSync(vm.at('inode', 'large'), Buffer.alloc(65536, 'l'))
    writeFileSync(vm.at('inode', 'small'), Buffer.alloc(65535, 's'))
    const reads = await vm.counter('inode', 'fuse.requests.READ')
    const mapped = await vm.counter('inode', 'fuse.mappingsSetUp')
    equal(
      await guest.must('cd /mnt/inode; /root/dax-io is-dax large; /root/dax-io is-dax small'),
      '1\n0',
      'STATX_ATTR_DAX',
    )
    await guest.must('cat /mnt/inode/large >/dev/null')
    equal(await vm.counter('inode', 'fuse.requests.READ'), reads, 'READ requests for the large file')
    check((await vm.counter('inode', 'fuse.mappingsSetUp')) > mapped, 'the large file was not mapped')
    const mappedLarge = await vm.counter('inode', 'fuse.mappingsSetUp')
    await guest.must('cat /mnt/inode/small >/dev/null')
    check((await vm.counter('inode', 'fuse.requests.READ')) > reads, 'the small file was not read by READ')
    equal(await vm.counter('inode', 'fuse.mappingsSetUp'), mappedLarge, 'mappings for the small file')
  })
}

async function semanticsSuite(
  rig: Rig,
  title: string,
  shares: readonly Share[],
  operations: number,
  others: (title: string, vm: SemanticsGuest) => Promise<void>,
): Promise<void> {
  if (!selected(`${title}: `)) return
  const vm = await SemanticsGuest.boot(rig, shares)
  await everyShare(title, vm, shares, operations)
  await others(title, vm)
  await test(`${title}: no complaint in the guest's kernel log`, async () => {
    await vm.destroy()
    equal(vm.guest.complaints().join('\n'), '', 'guest kernel log')
  })
}

export async function semanticsSuites(rig: Rig): Promise<void> {
  await suite(rig, 'semantics', (own) => semanticsSuite(own, 'semantics', USUAL, 200, withTheHost))
  await suite(rig, 'semantics-more', (own) => semanticsSuite(own, 'semantics-more', MORE, 1500, withTheHostAndOptions))
}
