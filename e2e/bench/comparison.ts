// SPDX-License-Identifier: Apache-2.0
/** What `npm run bench:comparison` compares: ways to give a guest files, and what it does with them. */
import type { Workload } from './workloads.ts'
import { WORKLOADS } from './workloads.ts'

/** The last one shares nothing with the host: it is what a guest pays that has a disk of its own. */
export const WAYS = ['viewfsd, window', 'viewfsd', 'virtiofsd', '9p', '9p, loose', 'virtio-blk'] as const
export type Way = (typeof WAYS)[number]

/** How the guest mounts each. */
export const MOUNTS: Readonly<Record<Way, string>> = {
  'viewfsd, window': 'mount -t virtiofs -o dax=inode data /mnt',
  viewfsd: 'mount -t virtiofs data /mnt',
  virtiofsd: 'mount -t virtiofs data /mnt',
  '9p': 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 data /mnt',
  '9p, loose': 'mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose data /mnt',
  'virtio-blk': 'mount -t ext4 /dev/vda /mnt',
}

export const BIG_MIB = 64

const COMMON = ['git status', 'git status, again', 'grep -r', 'grep -r, again', 'find', 'tar x']
const READ = 'cat /mnt/big'
const FIO = '--filename=/mnt/big --readonly --rw=randread --bs=4k --randrepeat=1 --size=64m --io_size=4m --minimal'

export const COMPARED: readonly Workload[] = [
  ...WORKLOADS.filter(({ name }) => COMMON.includes(name) || name.startsWith('SQLite')),
  { name: 'read 64 MiB', cold: true, script: READ },
  { name: 'read 64 MiB, again', cold: false, script: READ },
  { name: '1024 random reads, mmap', cold: true, script: `fio --name=mmap --ioengine=mmap ${FIO}` },
  { name: '1024 random reads, pread', cold: true, script: `fio --name=pread --ioengine=psync ${FIO}` },
  {
    name: 'write 32 MiB, fsync',
    prepare: 'rm -f /mnt/written',
    cold: true,
    script: 'dd if=/dev/zero of=/mnt/written bs=1M count=32 conv=fsync status=none',
  },
]

export interface ComparisonSample {
  readonly way: Way
  readonly workload: string
  /** Null where it failed, as what needs a shared mapping does on 9p. */
  readonly seconds: number | null
  /** By how much the guest's page cache has grown. */
  readonly cachedKiB: number
}
