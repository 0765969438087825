// SPDX-License-Identifier: Apache-2.0
/**
 * File systems of the host that fail on demand, each with one file that a guest uses meanwhile: a full disk, a quota, bad
 * sectors, a FUSE server with errors, failing memory. They go with the nested host.
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MisbehavingFs } from '../../server/integration/misbehaving-fs.ts'
import { sh } from '../guest/host.ts'

const PAGE = 4096
/** A guest's checkers (dax-io survive, reread) store into every 16th page, beginning with this one. */
const STRIDE = 16
const FIRST_STORE = 1
const PAGES = (2 << 20) / PAGE
const EIO = 5
const SECTORS_OF_PAGE = PAGE / 512

/** What a guest's programs, or the host, may find wrong while it fails. */
type Loss = 'window.lostWrites' | 'window.readErrors'

export interface FailingFs {
  /** Also the name of its folder in the share. */
  readonly name: string
  /** The daemon's counter that tells that it did fail; none where nobody may notice. */
  readonly loss: Loss | undefined
  /** What the file has once all is well and the checkers have been through it. */
  readonly expected: Buffer
  readonly file: string
  /** Fails from now on. The guest stands still meanwhile. */
  readonly begin: () => void | Promise<void>
  readonly end: () => void | Promise<void>
}

/** The file's bytes: a page's number at its start, and what the checkers store at its end. The last `holes` pages are holes at first. */
function content(holes: number, stored: boolean): Buffer {
  const bytes = Buffer.alloc(PAGES * PAGE)
  for (let page = 0; page < PAGES; page++) {
    const data = page < PAGES - holes
    if (data) bytes.writeBigUInt64LE(BigInt(page), page * PAGE)
    if (page % STRIDE === FIRST_STORE && (data || stored)) bytes.writeBigUInt64LE(BigInt(page), (page + 1) * PAGE - 8)
  }
  return bytes
}

function writeVictim(file: string, holes: number): void {
  writeFileSync(file, content(holes, false))
  if (holes > 0) punch(file, holes)
}

function punch(file: string, holes: number): void {
  sh(`fallocate --punch-hole --offset ${(PAGES - holes) * PAGE} --length ${holes * PAGE} ${file}; sync -f ${file}`)
}

/** A file of the host's own disk as a disk. */
function image(dir: string, name: string, mib: number): string {
  const path = join(dir, `${name}.img`)
  sh(`truncate -s ${mib}M ${path}`)
  return path
}

/** Without room a store into a hole is lost. */
function fullDisk(share: string, name: string, holes: number, mount: (mountPoint: string) => string): FailingFs {
  const dir = join(share, name)
  const file = join(dir, 'file')
  const fill = join(dir, 'fill')
  mkdirSync(dir)
  sh(mount(dir))
  writeVictim(file, holes)
  return {
    name,
    file,
    loss: 'window.lostWrites',
    expected: content(holes, true),
    begin: () => {
      punch(file, holes)
      // Most of what is said to be free at once, and then what there is. btrfs may have no room left to sync either.
      sh(`fallocate --length $(($(stat -f -c '%a / 16 * 15 * %S' ${dir}))) ${fill} 2>/dev/null || true
        for size in 1M 4k; do
          dd if=/dev/zero of=${fill} bs=$size oflag=append conv=notrunc status=none 2>/dev/null || true
          sync -f ${dir} 2>/dev/null || true
        done`)
    },
    // An error of before may be told now, once.
    end: () => void sh(`rm ${fill}; sync -f ${dir} 2>/dev/null || sync -f ${dir}`),
  }
}

/** XFS holds root, too, to the quota of the file's owner. */
function quota(share: string, disks: string): FailingFs {
  const user = 1234
  const holes = 64
  const name = 'quota'
  const dir = join(share, name)
  const file = join(dir, 'file')
  const limit = (bytes: string): string => `xfs_quota -x -c 'limit -u bhard=${bytes} ${user}' ${dir}`
  mkdirSync(dir)
  sh(`mkfs.xfs -q -f -K ${image(disks, name, 320)}; mount -o loop,uquota ${join(disks, `${name}.img`)} ${dir}`)
  writeVictim(file, holes)
  sh(`chown ${user} ${file}`)
  return {
    name,
    file,
    loss: 'window.lostWrites',
    expected: content(holes, true),
    begin: () => {
      punch(file, holes)
      sh(limit('4k'))
    },
    end: () => void sh(limit('0')),
  }
}

/** A suite may be run again in the same host. */
let devices = 0

/** Sectors below a file on ext4 that can't be read; the rest of the disk can. */
function badSectors(share: string, disks: string): FailingFs {
  const name = 'bad-sectors'
  const dir = join(share, name)
  const file = join(dir, 'file')
  const device = `viewfsd-${++devices}`
  const sectors = 32 * 2048
  const loop = sh(`losetup -f --show ${image(disks, name, sectors / 2048)}`).trim()
  const whole = `0 ${sectors} linear ${loop} 0`
  const dm = (command: string): string => `DM_DISABLE_UDEV=1 dmsetup ${command} ${device}`
  const load = (table: string): string =>
    `${dm('suspend --nolockfs')}; printf '${table}' | ${dm('reload')}; ${dm('resume')}`
  mkdirSync(dir)
  sh(`printf '${whole}' | ${dm('create')}; mkfs.ext4 -q -F -E nodiscard /dev/mapper/${device}
    mount /dev/mapper/${device} ${dir}`)
  const same = join(disks, 'same')
  for (const path of [file, same]) writeVictim(path, 0)
  sh(`sync -f ${file}`)
  const extent = /^ *0: +0\.\. +(\d+): +(\d+)\.\. +(\d+):/m.exec(sh(`filefrag -e -b4096 ${file}`))
  if (extent === null || Number(extent[1]) !== PAGES - 1) throw new Error('the file has more than one extent')
  const first = Number(extent[2]) * SECTORS_OF_PAGE
  const behind = first + PAGES * SECTORS_OF_PAGE
  const bad = [
    `0 ${first} linear ${loop} 0`,
    `${first} ${behind - first} error`,
    `${behind} ${sectors - behind} linear ${loop} ${behind}`,
  ].join('\\n')
  return {
    name,
    file,
    loss: 'window.readErrors',
    expected: content(0, true),
    begin: () => {
      // A write that passes the cache by drops what that has of clean pages, before it fails.
      sh(`sync -f ${file}; ${load(bad)}
        for page in 4 164 324; do
          dd if=${same} of=${file} bs=4k count=12 skip=$page seek=$page oflag=direct conv=notrunc 2>/dev/null || true
        done`)
    },
    end: () => void sh(load(whole)),
  }
}

/** A FUSE server that can't read. */
async function failingServer(share: string, disks: string): Promise<FailingFs> {
  const name = 'fuse'
  const dir = join(share, name)
  const file = join(dir, 'file')
  const backing = join(disks, name)
  mkdirSync(dir)
  mkdirSync(backing)
  writeVictim(join(backing, 'file'), 0)
  const server = await MisbehavingFs.mount(backing, dir)
  let rule: Awaited<ReturnType<MisbehavingFs['fail']>> | undefined
  return {
    name,
    file,
    loss: 'window.readErrors',
    expected: content(0, true),
    begin: async () => {
      rule = await server.fail('read', EIO)
      // The kernel drops what it has cached of a file that is opened.
      closeSync(openSync(file, 'r'))
    },
    end: async () => rule?.end(),
  }
}

/** Memory that fails below pages that the disk has, too. */
function failingMemory(share: string): FailingFs {
  const name = 'memory'
  const dir = join(share, name)
  const file = join(dir, 'file')
  let round = 0
  mkdirSync(dir)
  writeVictim(file, 0)
  sh(`cp /out/dax-io /run/dax-io; sync -f ${file}`)
  return {
    name,
    file,
    loss: undefined,
    expected: content(0, true),
    begin: () => {
      // A page that nobody writes to.
      const page = ((round++ * 7) % (PAGES / STRIDE)) * STRIDE + STRIDE / 2
      sh(`sync -f ${file}; /run/dax-io poison ${file} ${page}`)
    },
    end: () => {},
  }
}

/**
 * Makes them below `share`.
 * @param disks a folder for the disks' images
 */
export async function failingFileSystems(share: string, disks: string): Promise<FailingFs[]> {
  mkdirSync(share, { recursive: true })
  mkdirSync(disks, { recursive: true })
  sh('modprobe -a loop xfs btrfs dm-mod 2>/dev/null || true')
  const onImage = (fs: string, mib: number, options: string) => (mountPoint: string) => {
    const disk = image(disks, fs, mib)
    return `mkfs.${fs} ${options} ${disk}; mount -o loop ${disk} ${mountPoint}`
  }
  return [
    fullDisk(share, 'tmpfs', 64, (mountPoint) => `mount -t tmpfs -o size=4m none ${mountPoint}`),
    fullDisk(share, 'xfs', 64, onImage('xfs', 320, '-q -f -K')),
    fullDisk(share, 'ext4', 64, onImage('ext4', 32, '-q -F')),
    // It looks for room for seconds before it says that there is none.
    fullDisk(share, 'btrfs', 16, onImage('btrfs', 256, '-q -f -K')),
    badSectors(share, disks),
    quota(share, disks),
    failingMemory(share),
    await failingServer(share, disks),
  ]
}

/** Whether the host's file has all that it should. */
export function isWhole(fs: FailingFs): boolean {
  return readFileSync(fs.file).equals(fs.expected)
}
