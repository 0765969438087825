// SPDX-License-Identifier: Apache-2.0
/**
 * The file systems whose files a memory view can show: those of memview_fs_allowed() in kernel/file.c, without DAX of
 * the host's own.
 */
import { closeSync, openSync, readFileSync, realpathSync } from 'node:fs'

/** f_type of statfs(2), and what mountinfo calls it. */
const VIEWABLE: readonly { readonly type: number; readonly names: readonly string[] }[] = [
  { type: 0x9123683e, names: ['btrfs'] },
  { type: 0xef53, names: ['ext4', 'ext3', 'ext2'] },
  { type: 0x65735546, names: ['fuse', 'fuseblk', 'virtiofs'] },
  { type: 0x794c7630, names: ['overlay'] },
  { type: 0x01021994, names: ['tmpfs', 'devtmpfs'] },
  { type: 0x58465342, names: ['xfs'] },
]

export const VIEWABLE_TYPES: readonly number[] = VIEWABLE.map(({ type }) => type)
const NAMES = new Set(VIEWABLE.flatMap(({ names }) => names))

/** A mount whose files can't be in the window. */
export interface Unviewable {
  /** Of the mount, below the shared directory; "." where it is the shared directory's own. */
  readonly path: string
  readonly fileSystem: string
}

/**
 * The file systems of a shared directory, its own and those mounted below, whose files a memory view can't show.
 * @param mountinfo proc_pid_mountinfo(5)
 * @param directory absolute, without symbolic links
 * @param mountId of the mount that the directory itself is in
 */
export function unviewableMounts(mountinfo: string, directory: string, mountId: number): Unviewable[] {
  const below = directory === '/' ? '/' : `${directory}/`
  const mounts = mountinfo.split('\n').filter((line) => line !== '')
  const parents = new Map(mounts.map((line) => [Number(line.split(' ')[0]), Number(line.split(' ')[1])]))
  // A path alone can name what the share, or a mount above it, hides: of a sandbox, the whole root directory of the host.
  const isWithin = (id: number, steps = 0): boolean => {
    const parent = parents.get(id)
    return id === mountId || (parent !== undefined && steps < parents.size && isWithin(parent, steps + 1))
  }
  return mounts.flatMap((line) => {
    const [mount = '', superblock = ''] = line.split(' - ')
    const [id, , , , point = ''] = mount.split(' ')
    const [type = '', , options = ''] = superblock.split(' ')
    const path = point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
    const own = Number(id) === mountId
    if (!own && !(path.startsWith(below) && isWithin(Number(id)))) return []
    const dax = options.split(',').some((option) => option === 'dax' || option === 'dax=always')
    if (NAMES.has(type.replace(/^(fuse|fuseblk)\..*/, '$1')) && !dax) return []
    return [{ path: own ? '.' : path.slice(below.length), fileSystem: dax ? `${type} with DAX` : type }]
  })
}

/** What to say about a shared directory before a guest mounts it with dax=always; undefined where nothing. */
export function explainUnviewable(found: readonly Unviewable[]): string | undefined {
  if (found.length === 0) return undefined
  const list = found.map(({ path, fileSystem }) => `${path} (${fileSystem})`).join(', ')
  return `a memory view can't show files of ${list}: a guest that mounts with dax=always can't read them; --dax-policy leaves them out`
}

/** `unviewableMounts` of a directory, by this process's own mounts; none where /proc does not say. */
export function unviewableBelow(directory: string): Unviewable[] {
  try {
    const fd = openSync(directory, 'r')
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')
    closeSync(fd)
    const mountId = Number(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1])
    return unviewableMounts(readFileSync('/proc/self/mountinfo', 'utf8'), realpathSync(directory), mountId)
  } catch {
    return []
  }
}
