// SPDX-License-Identifier: Apache-2.0
/** A share that lies on NFS, which renames what is removed while it is in use. Needs a kernel that has a server. */
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { mountForClient } from './harness/client-mount.ts'
import { makeScratch, removeScratch } from './harness/daemon.ts'
import { mountLoopbackNfs } from './harness/loopback-nfs.ts'

/** Of asm-generic/fcntl.h; FUSE has no OPEN for it. */
const O_PATH = 0o10000000

test('what the guest has only looked at is removed, what it has open stays readable', async () => {
  const scratch = makeScratch()
  onTestFinished(() => {
    removeScratch(scratch)
  })
  const [exported, share] = [path.join(scratch, 'exported'), path.join(scratch, 'share')]
  for (const folder of [exported, share]) fs.mkdirSync(folder)
  execFileSync('mount', ['-t', 'tmpfs', 'viewfsd-test', exported])
  onTestFinished(() => {
    spawnSync('umount', ['--lazy', exported])
  })
  mountLoopbackNfs(exported, share)
  const mountPoint = await mountForClient(share, { cache: 'never' }, 3)
  const at = (...names: string[]): string => path.join(mountPoint, 'directory', ...names)

  fs.mkdirSync(at())
  for (const name of ['one', 'two', 'three']) {
    fs.writeFileSync(at(name), name)
    // Each of them has been used by the daemon, which may still have a descriptor of it.
    expect(fs.statSync(at(name)).size).toBe(name.length)
    fs.chmodSync(at(name), 0o600)
  }
  fs.symlinkSync('nowhere', at('link'))
  expect(fs.readlinkSync(at('link'))).toBe('nowhere')
  fs.renameSync(at('one'), at('two'))
  expect(fs.readdirSync(path.join(exported, 'directory')).toSorted()).toEqual(['link', 'three', 'two'])
  // Without an open, nor a FORGET that would come before the directory is removed.
  const known = fs.openSync(at('three'), O_PATH)
  fs.chmodSync(at('three'), 0o644)
  execFileSync('rm', ['-r', at()])
  expect(fs.readdirSync(exported)).toEqual([])
  fs.closeSync(known)

  const file = fs.openSync(path.join(mountPoint, 'open'), 'w+')
  fs.writeSync(file, 'text')
  fs.unlinkSync(path.join(mountPoint, 'open'))
  const text = Buffer.alloc(10)
  expect(text.toString('utf8', 0, fs.readSync(file, text, 0, 10, 0))).toBe('text')
  fs.closeSync(file)
})
