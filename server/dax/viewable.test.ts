// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { explainUnviewable, unviewableMounts } from './viewable.ts'

const MOUNTS = [
  '21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
  '30 21 0:30 / /srv rw shared:2 - btrfs /dev/sdb rw,subvol=/',
  '31 30 0:31 / /srv/data/nfs rw master:3 - nfs4 server:/ rw,vers=4.2',
  '32 30 0:32 / /srv/data/with\\040blank rw - erofs /dev/loop0 ro',
  '33 30 0:33 / /srv/data/ssh rw - fuse.sshfs user@host: rw,user_id=0',
  '34 30 0:34 / /srv/data/pmem rw - xfs /dev/pmem0 rw,attr2,dax=always,inode64',
  '35 30 0:35 / /srv/database rw - zfs pool rw',
  '36 30 0:36 / /srv/data/tmp rw - tmpfs none rw',
  '',
].join('\n')

test('finds what is mounted below the directory and can not be shown', () => {
  expect(unviewableMounts(MOUNTS, '/srv/data', 30)).toEqual([
    { path: 'nfs', fileSystem: 'nfs4' },
    { path: 'with blank', fileSystem: 'erofs' },
    { path: 'pmem', fileSystem: 'xfs with DAX' },
  ])
})

test('finds the file system of the directory itself', () => {
  expect(unviewableMounts(MOUNTS, '/srv/database', 35)).toEqual([{ path: '.', fileSystem: 'zfs' }])
  expect(unviewableMounts(MOUNTS, '/srv/database/below', 35)).toEqual([{ path: '.', fileSystem: 'zfs' }])
  expect(unviewableMounts(MOUNTS, '/srv/data/tmp', 36)).toEqual([])
  expect(unviewableMounts(MOUNTS, '/', 21)).toHaveLength(4)
})

test('does not speak of what lies hidden under the directory', () => {
  const sandbox = [
    '21 1 8:1 / / rw - ext4 /dev/sda1 rw',
    '22 21 0:22 / /proc rw - proc proc rw',
    '23 21 0:31 / /nfs rw - nfs4 server:/ rw',
    '24 22 0:24 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw',
    '40 21 8:1 /srv/data / rw - ext4 /dev/sda1 rw',
    '41 40 0:31 / /nfs rw - nfs4 server:/ rw',
    '42 41 0:32 / /nfs/disk ro - erofs /dev/loop0 ro',
  ].join('\n')
  expect(unviewableMounts(sandbox, '/', 40)).toEqual([
    { path: 'nfs', fileSystem: 'nfs4' },
    { path: 'nfs/disk', fileSystem: 'erofs' },
  ])
})

test('says nothing where there is nothing to say', () => {
  expect(explainUnviewable([])).toBeUndefined()
  expect(explainUnviewable([{ path: '.', fileSystem: 'zfs' }])).toContain('. (zfs)')
})
