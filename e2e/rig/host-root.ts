// SPDX-License-Identifier: Apache-2.0
/**
 * The host root: a Debian user land in the cache with QEMU, both kernels, their headers and the tools of the tests, as a
 * folder and as the image of a disk. The folder is where the driver is built; the disk is the root of the nested host and of
 * its guests. Nothing writes to either once they are built: machines see the disk read-only below an overlay.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { machineMirror } from './apt-mirror.ts'
import { output, runLogged, shellQuote } from './command.ts'
import { APT_INSTALL, aptFiles, aptInRoot, bootstrap, inRoot } from './debian-root.ts'
import {
  BACKPORTS_PACKAGES,
  KERNEL_LABELS,
  type KernelLabel,
  kernelPackages,
  newestKernel,
  OUTER_QEMU_PACKAGES,
  RELEASE_PACKAGES,
} from './packages.ts'
import { cacheSubdir } from './paths.ts'
import { say, StepError } from './progress.ts'
import { buildInStages, buildKey, type Stage } from './stages.ts'

/** The Debian release that the root is made of. */
export const RELEASE = 'trixie'
/** Raise when the way the root is put together changes, so that older ones are not used. */
const LAYOUT = 3
const MANIFEST = 'etc/viewfsd-rig.json'
/** The folder and the image, below the folder that has the key for its name. */
const TREE = 'tree'
const IMAGE = 'root.ext4'

/** What a root was built from. */
export interface RootManifest {
  readonly kernels: Readonly<Record<KernelLabel, string>>
  /** Package name to version, of what matters for a result. */
  readonly versions: Readonly<Record<string, string>>
}

export interface HostRoot {
  /** The folder. */
  readonly path: string
  /** Its files as an ext4 file system. */
  readonly image: string
  readonly manifest: RootManifest
}

/**
 * Makes an image of `tree`, which needs no mount. A tenth more than the files take is room for what ext4 keeps of them; nothing
 * will be written to it.
 */
export async function makeImage(tree: string, image: string, logPath: string): Promise<void> {
  const [kib] = output(['du', '-sk', tree]).split('\t')
  rmSync(image, { force: true })
  const options = ['-q', '-t', 'ext4', '-O', '^has_journal,^resize_inode', '-m', '0', '-E', 'lazy_itable_init=1']
  const size = `${Math.ceil(Number(kib) * 1.1)}k`
  await runLogged('mke2fs', ['mke2fs', ...options, '-d', tree, image, size], logPath)
}

function stages(mirror: string, logPath: string): Stage[] {
  const apt = (what: string, root: string, script: string) => runLogged(what, aptInRoot(root, script), logPath)
  return [
    {
      name: 'debootstrap',
      build: (dir) => bootstrap(RELEASE, mirror, join(dir, TREE), logPath),
    },
    {
      name: 'user land',
      build: async (dir) => {
        const root = join(dir, TREE)
        aptFiles(root, RELEASE, mirror)
        // Nobody reads there.
        writeFileSync(
          join(root, 'etc/dpkg/dpkg.cfg.d/viewfsd-rig'),
          'path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n',
        )
        await apt('installing packages', root, `apt-get update; ${APT_INSTALL} ${RELEASE_PACKAGES.join(' ')}`)
      },
    },
    {
      name: 'QEMU',
      build: async (dir) => {
        const install = `eatmydata apt-get -y -o Dpkg::Use-Pty=0 install -t ${RELEASE}-backports`
        const outer = OUTER_QEMU_PACKAGES.map((name) => `${name}/${RELEASE}`).join(' ')
        await apt(
          'installing QEMU',
          join(dir, TREE),
          `${install} ${BACKPORTS_PACKAGES.join(' ')}; mkdir -p /opt/outer-qemu; cd /tmp; apt-get download ${outer}
           for deb in *.deb; do dpkg-deb -x "$deb" /opt/outer-qemu; done`,
        )
      },
    },
    {
      name: 'kernels',
      build: async (dir) => {
        const root = join(dir, TREE)
        const names = output(inRoot(root, 'apt-cache pkgnames linux-')).split('\n')
        const kernels: Partial<Record<KernelLabel, string>> = {}
        for (const label of KERNEL_LABELS) {
          const version = newestKernel(label, names)
          if (version === undefined) throw new StepError(`${mirror} has no ${label} cloud kernel for ${RELEASE}`)
          kernels[label] = version
          await apt(
            `unpacking kernel ${version}`,
            root,
            `cd /tmp; apt-get download ${kernelPackages(label, version).map(shellQuote).join(' ')}
             for deb in *.deb; do dpkg-deb -x "$deb" /; done
             test -e /lib/modules/${version}/vmlinuz || cp /boot/vmlinuz-${version} /lib/modules/${version}/vmlinuz
             depmod ${version}`,
          )
          const modules = join(root, 'lib/modules', version)
          writeFileSync(join(modules, 'vmlinux.zst'), kernelPayload(readFileSync(join(modules, 'vmlinuz'))))
          await apt('unpacking the kernel image', root, `zstd -dqf --rm /lib/modules/${version}/vmlinux.zst`)
        }
        for (const place of ['repo', 'out', 'share', '.rig']) mkdirSync(join(root, place), { recursive: true })
        const shown = ['virtiofsd', 'fio', 'nodejs', 'gcc', ...BACKPORTS_PACKAGES]
        const query = `dpkg-query -W -f '\${Package} \${Version}\\n' ${shown.join(' ')}`
        const rows = output(inRoot(root, query)).trim().split('\n')
        const versions: Record<string, string> = {}
        for (const row of rows) versions[row.split(' ')[0] ?? ''] = row.split(' ')[1] ?? ''
        writeFileSync(join(root, MANIFEST), JSON.stringify({ kernels, versions }, null, 2))
      },
    },
    { name: 'image', build: (dir) => makeImage(join(dir, TREE), join(dir, IMAGE), logPath) },
  ]
}

/**
 * The compressed kernel inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset at 0x248,
 * payload_length at 0x24c, which counts the four bytes of the unpacked size at its end). Started unpacked, by its PVH
 * entry, a kernel spares the firmware and the unpacking: ten seconds in the guest of an emulated host.
 */
export function kernelPayload(bzImage: Buffer): Buffer {
  const setupBytes = (bzImage.readUInt8(0x1f1) + 1) * 512
  const start = setupBytes + bzImage.readUInt32LE(0x248)
  const payload = bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c) - 4)
  if (payload.readUInt32LE(0) !== 0xfd2fb528) throw new StepError('the kernel image is not compressed with zstd')
  return payload
}

/** Where the host root's folder and image are, or will be; the key names what they are made of. */
function rootLocation(): { key: string; dir: string } {
  const key = buildKey(LAYOUT, RELEASE, RELEASE_PACKAGES, BACKPORTS_PACKAGES, OUTER_QEMU_PACKAGES, KERNEL_LABELS)
  return { key, dir: join(cacheSubdir('roots'), key) }
}

/** The folder of the host root, undefined where it has not been built yet. */
export function builtHostRoot(): string | undefined {
  const { dir } = rootLocation()
  return existsSync(dir) ? join(dir, TREE) : undefined
}

/** The host root, built when it is not in the cache yet (minutes; says what it does). */
export async function hostRoot(): Promise<HostRoot> {
  const { key, dir } = rootLocation()
  if (!existsSync(dir)) {
    const logPath = join(cacheSubdir('logs'), `host-root-${key}.log`)
    const mirror = machineMirror()
    say(`host root: Debian ${RELEASE} from ${mirror} into ${dir} (log: ${logPath})`)
    await buildInStages(dir, 'host root', stages(mirror, logPath))
  }
  const path = join(dir, TREE)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- we wrote it, under a name that says its format
  const manifest = JSON.parse(readFileSync(join(path, MANIFEST), 'utf8')) as RootManifest
  return { path, image: join(dir, IMAGE), manifest }
}
