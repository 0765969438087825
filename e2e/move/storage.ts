// SPDX-License-Identifier: Apache-2.0
/**
 * Storage that two nested hosts share: one of them exports its disk, and both mount that over NFS 4.2, so that either sees the same files by the same
 * names and by the same file handles. No program answers the server's questions who may mount what: the answers are in its caches
 * before it asks.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { mountDisk, sh } from '../guest/host.ts'

const NFSD = '/proc/fs/nfsd'
const CACHES = '/proc/net/rpc'
/** Seconds since the epoch: never. */
const EXPIRY = 4_000_000_000
/** NFSEXP_INSECURE_PORT, NFSEXP_ASYNC, NFSEXP_NOSUBTREECHECK and NFSEXP_FSID. */
const EXPORT_FLAGS = 0x2412

/** Exports this host's disk to `clients`, by their addresses. */
export function exportDisk(clients: readonly string[]): void {
  const exported = mountDisk('ext4', '/exported')
  // Without delegations, which not every server gives, nothing makes a client write out what others read but a file's close.
  sh(`modprobe -a nfsd nfsv4; mount -t nfsd nfsd ${NFSD}; echo 0 >/proc/sys/fs/leases-enable`)
  for (const client of clients) writeFileSync(`${CACHES}/auth.unix.ip/channel`, `nfsd ${client} ${EXPIRY} both\n`)
  writeFileSync(`${CACHES}/nfsd.export/channel`, `both ${exported} ${EXPIRY} ${EXPORT_FLAGS} 65534 65534 0\n`)
  // A file system by its number, 0: the root of what version 4 shows.
  writeFileSync(`${CACHES}/nfsd.fh/channel`, `both 1 \\x00000000 ${EXPIRY} ${exported}\n`)
  writeFileSync(`${NFSD}/versions`, '-2 -3 +4 +4.1 +4.2\n')
  writeFileSync(`${NFSD}/nfsv4gracetime`, '10\n')
  writeFileSync(`${NFSD}/portlist`, 'tcp 2049\n')
  writeFileSync(`${NFSD}/threads`, '4\n')
}

/** Mounts what `server` exports. */
export function mountStorage(server: string, client: string, mountPoint: string): void {
  mkdirSync(mountPoint)
  sh(`modprobe nfsv4; mount -i -t nfs4 -o vers=4.2,addr=${server},clientaddr=${client} ${server}:/ ${mountPoint}`)
}
