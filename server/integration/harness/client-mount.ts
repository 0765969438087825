// SPDX-License-Identifier: Apache-2.0
/** A directory that is shared with this kernel's own FUSE client, for the length of a test. */
import { execFileSync } from 'node:child_process'
import type { PassthroughOptions } from '../../passthrough/options.ts'
import { DevFuse } from './dev-fuse.ts'

/** @returns where it is mounted */
export async function mountForClient(
  share: string,
  options: Partial<PassthroughOptions> = {},
  threads = 1,
): Promise<string> {
  return (await DevFuse.mount(options, share, threads)).mountPoint
}

/** Lets the kernel forget every inode and name that nobody uses. */
export function dropInodeCache(): void {
  execFileSync('sh', ['-c', 'echo 2 >/proc/sys/vm/drop_caches'])
}

/** A new directory, shared with the extended attributes of this command line of viewfsd. */
export function mountWithOptions(args: readonly string[]): Promise<DevFuse> {
  const xattrMap = args.find((arg) => arg.startsWith('--xattrmap='))?.slice('--xattrmap='.length)
  return DevFuse.mount(xattrMap === undefined ? {} : { xattrMap }, undefined, 3)
}
