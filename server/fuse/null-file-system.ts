// SPDX-License-Identifier: Apache-2.0
/** A file system that has nothing: every operation answers ENOSYS. For tests and fuzzers, and to derive from. */
import { Errno } from '../errno.ts'
import type { FileSystem, InitFeature } from './file-system.ts'

const unsupported = (): number => -Errno.ENOSYS

export class NullFileSystem implements FileSystem {
  readonly readOnly: boolean = false
  readonly initFlags: number = 0
  readonly initFlags2: number = 0
  readonly initFeatures: readonly InitFeature[] = []
  setattr: FileSystem['setattr'] = unsupported
  statx: FileSystem['statx'] = unsupported
  readlink: FileSystem['readlink'] = unsupported
  symlink: FileSystem['symlink'] = unsupported
  mknod: FileSystem['mknod'] = unsupported
  mkdir: FileSystem['mkdir'] = unsupported
  unlink: FileSystem['unlink'] = unsupported
  rmdir: FileSystem['rmdir'] = unsupported
  rename: FileSystem['rename'] = unsupported
  link: FileSystem['link'] = unsupported
  create: FileSystem['create'] = unsupported
  tmpfile: FileSystem['tmpfile'] = unsupported
  getlk: FileSystem['getlk'] = unsupported
  setlk: FileSystem['setlk'] = unsupported
  lseek: FileSystem['lseek'] = unsupported
  ioctl: FileSystem['ioctl'] = unsupported
  statfs: FileSystem['statfs'] = unsupported
  setxattr: FileSystem['setxattr'] = unsupported
  getxattr: FileSystem['getxattr'] = unsupported
  listxattr: FileSystem['listxattr'] = unsupported
  removexattr: FileSystem['removexattr'] = unsupported
  reset: FileSystem['reset'] = () => {}
}
