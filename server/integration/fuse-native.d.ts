// SPDX-License-Identifier: Apache-2.0
/** What misbehaving-fs-process.ts uses of fuse-native, which brings no types. Results are 0 or positive, or `-errno`. */
declare module 'fuse-native' {
  import type { Stats } from 'node:fs'

  type Done = (error: number) => void
  type DoneWith<T> = (error: number, value?: T) => void

  interface Operations {
    getattr(path: string, done: DoneWith<Stats>): void
    readdir(path: string, done: DoneWith<string[]>): void
    readlink(path: string, done: DoneWith<string>): void
    open(path: string, flags: number, done: DoneWith<number>): void
    create(path: string, mode: number, done: DoneWith<number>): void
    /** `done` takes the length as its error. */
    read(path: string, fd: number, buffer: Buffer, length: number, position: number, done: Done): void
    write(path: string, fd: number, buffer: Buffer, length: number, position: number, done: Done): void
    flush(path: string, fd: number, done: Done): void
    fsync(path: string, datasync: number, fd: number, done: Done): void
    release(path: string, fd: number, done: Done): void
    truncate(path: string, size: number, done: Done): void
    ftruncate(path: string, fd: number, size: number, done: Done): void
    utimens(path: string, atimeMs: number, mtimeMs: number, done: Done): void
    chmod(path: string, mode: number, done: Done): void
    chown(path: string, uid: number, gid: number, done: Done): void
    unlink(path: string, done: Done): void
    rename(from: string, to: string, done: Done): void
    link(from: string, to: string, done: Done): void
    symlink(target: string, path: string, done: Done): void
    mkdir(path: string, mode: number, done: Done): void
    rmdir(path: string, done: Done): void
    statfs(path: string, done: DoneWith<Record<string, number>>): void
  }

  export default class Fuse {
    constructor(
      mountPoint: string,
      operations: Operations,
      options: { timeout: false; allowOther: boolean; defaultPermissions: boolean; fsname: string },
    )
    mount(done: (error: Error | null) => void): void
  }
}
