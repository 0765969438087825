// SPDX-License-Identifier: Apache-2.0
/**
 * Linux's NFS server and its client on this machine's loopback, version 4.2. No program serves the kernel's questions who
 * may mount what: the answers are in its caches before it asks.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { onTestFinished } from 'vitest'

const NFSD = '/proc/fs/nfsd'
const CACHES = '/proc/net/rpc'
/** Seconds since the epoch: never. */
const EXPIRY = 4_000_000_000
/** NFSEXP_INSECURE_PORT, NFSEXP_ASYNC, NFSEXP_NOSUBTREECHECK and NFSEXP_FSID. */
const EXPORT_FLAGS = 0x2412

/** Mounts `exported`, the root of a file system, at `mountPoint` until the test ends. One at a time. */
export function mountLoopbackNfs(exported: string, mountPoint: string): void {
  execFileSync('modprobe', ['-a', 'nfsd', 'nfsv4'])
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
  if (!existsSync(`${NFSD}/threads`)) execFileSync('mount', ['-t', 'nfsd', 'nfsd', NFSD])
  writeFileSync(`${CACHES}/auth.unix.ip/channel`, `nfsd 127.0.0.1 ${EXPIRY} here\n`)
  writeFileSync(`${CACHES}/nfsd.export/channel`, `here ${exported} ${EXPIRY} ${EXPORT_FLAGS} 65534 65534 0\n`)
  // A file system by its number, 0: the root of what version 4 shows.
  writeFileSync(`${CACHES}/nfsd.fh/channel`, `here 1 \\x00000000 ${EXPIRY} ${exported}\n`)
  writeFileSync(`${NFSD}/versions`, '-2 -3 +4 +4.1 +4.2\n')
  writeFileSync(`${NFSD}/nfsv4leasetime`, '10\n')
  writeFileSync(`${NFSD}/nfsv4gracetime`, '10\n')
  // Newer kernels make no listener by themselves.
  writeFileSync(`${NFSD}/portlist`, 'tcp 2049\n')
  writeFileSync(`${NFSD}/threads`, '4\n')
  onTestFinished(() => {
    spawnSync('umount', ['--lazy', mountPoint])
    writeFileSync(`${NFSD}/threads`, '0\n')
    for (const cache of ['nfsd.fh', 'nfsd.export', 'auth.unix.ip']) writeFileSync(`${CACHES}/${cache}/flush`, '1\n')
  })
  const options = 'vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1'
  execFileSync('mount', ['-i', '-t', 'nfs4', '-o', options, '127.0.0.1:/', mountPoint])
}
