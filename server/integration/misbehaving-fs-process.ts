// SPDX-License-Identifier: Apache-2.0
/**
 * The process behind misbehaving-fs.ts: a FUSE file system that passes everything through to a directory, except what
 * a rule says. Rules come and reports go by IPC. Arguments: the backing directory, the mount point.
 */
import fs from 'node:fs'
import path from 'node:path'
import Fuse from 'fuse-native'
import type { Operation, Order, Report, Rule } from './misbehaving-fs.ts'

const [backing = '', mountPoint = ''] = process.argv.slice(2)
const EIO = 5
const O_ACCMODE = 3

interface LiveRule {
  readonly rule: Rule
  left: number
  /** What a stalled operation does when it is let go. */
  readonly waiting: (() => void)[]
}

const rules = new Map<number, LiveRule>()
const counts = new Map<string, number>()

function report(message: Report): void {
  process.send?.(message)
}

function errnoOf(error: unknown): number {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number' ? error.errno : -EIO
}

function real(name: string): string {
  return path.join(backing, name)
}

function findRule(operation: Operation, name: string): LiveRule | undefined {
  for (const live of rules.values()) {
    const { rule } = live
    if (live.left > 0 && rule.operation === operation && (rule.path === undefined || rule.path === name)) {
      live.left--
      return live
    }
  }
  return undefined
}

/**
 * Runs one operation unless a rule has something else for it.
 * @param work returns what is passed to `done` as a result; its exceptions become `-errno`
 */
function perform<T>(operation: Operation, name: string, done: (error: number, value?: T) => void, work: () => T): void {
  counts.set(operation, (counts.get(operation) ?? 0) + 1)
  const run = (): void => {
    let value: T
    try {
      value = work()
    } catch (error) {
      done(errnoOf(error))
      return
    }
    done(0, value)
  }
  const live = findRule(operation, name)
  if (live === undefined) {
    run()
    return
  }
  if (live.rule.kind === 'fail') done(-live.rule.errno)
  else if (live.rule.kind === 'stall') live.waiting.push(run)
  else run()
  report({ type: 'hit', rule: live.rule.id })
}

/** Operations whose result is a length, which fuse-native takes in place of the error. */
function transfer(operation: 'read' | 'write', name: string, done: (error: number) => void, work: () => number): void {
  const shortened = [...rules.values()].find(
    ({ rule, left }) =>
      rule.kind === 'shorten' && left > 0 && rule.operation === operation && (rule.path ?? name) === name,
  )
  perform<number>(
    operation,
    name,
    (error, length = 0) => {
      if (error < 0) done(error)
      else done(shortened?.rule.kind === 'shorten' ? Math.min(length, shortened.rule.length) : length)
    },
    work,
  )
}

function setAllTimes(name: string, atimeMs: number, mtimeMs: number): void {
  fs.lutimesSync(name, atimeMs / 1000, mtimeMs / 1000)
}

const fuse = new Fuse(
  mountPoint,
  {
    getattr: (name, done) => perform('getattr', name, done, () => fs.lstatSync(real(name))),
    readdir: (name, done) => perform('readdir', name, done, () => ['.', '..', ...fs.readdirSync(real(name))]),
    readlink: (name, done) => perform('readlink', name, done, () => fs.readlinkSync(real(name))),
    // The kernel has cut O_CREAT, O_EXCL and O_TRUNC off; O_APPEND is in each write's position.
    open: (name, flags, done) => perform('open', name, done, () => fs.openSync(real(name), flags & O_ACCMODE)),
    create: (name, mode, done) =>
      perform('create', name, done, () =>
        fs.openSync(real(name), fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_TRUNC, mode),
      ),
    read: (name, fd, buffer, length, position, done) =>
      transfer('read', name, done, () => fs.readSync(fd, buffer, 0, length, position)),
    write: (name, fd, buffer, length, position, done) =>
      transfer('write', name, done, () => fs.writeSync(fd, buffer, 0, length, position)),
    flush: (name, _fd, done) => perform('flush', name, done, () => {}),
    fsync: (name, _datasync, fd, done) => perform('fsync', name, done, () => fs.fsyncSync(fd)),
    release: (name, fd, done) => perform('release', name, done, () => fs.closeSync(fd)),
    truncate: (name, size, done) => perform('truncate', name, done, () => fs.truncateSync(real(name), size)),
    ftruncate: (name, fd, size, done) => perform('truncate', name, done, () => fs.ftruncateSync(fd, size)),
    utimens: (name, atimeMs, mtimeMs, done) =>
      perform('utimens', name, done, () => setAllTimes(real(name), atimeMs, mtimeMs)),
    chmod: (name, mode, done) => perform('chmod', name, done, () => fs.chmodSync(real(name), mode)),
    chown: (name, uid, gid, done) => perform('chown', name, done, () => fs.lchownSync(real(name), uid, gid)),
    unlink: (name, done) => perform('unlink', name, done, () => fs.unlinkSync(real(name))),
    rename: (from, to, done) => perform('rename', from, done, () => fs.renameSync(real(from), real(to))),
    link: (from, to, done) => perform('link', from, done, () => fs.linkSync(real(from), real(to))),
    symlink: (target, name, done) => perform('symlink', name, done, () => fs.symlinkSync(target, real(name))),
    mkdir: (name, mode, done) =>
      perform('mkdir', name, done, () => {
        fs.mkdirSync(real(name), mode)
      }),
    rmdir: (name, done) => perform('rmdir', name, done, () => fs.rmdirSync(real(name))),
    statfs: (name, done) =>
      perform('statfs', name, done, () => {
        const { bsize, blocks, bfree, bavail, files, ffree } = fs.statfsSync(backing)
        return { bsize, frsize: bsize, blocks, bfree, bavail, files, ffree, favail: ffree, namemax: 255 }
      }),
  },
  { timeout: false, allowOther: true, defaultPermissions: true, fsname: 'misbehaving' },
)

function letGo(id: number): void {
  const live = rules.get(id)
  rules.delete(id)
  for (const run of live?.waiting.splice(0) ?? []) run()
}

process.on('message', (order: Order) => {
  switch (order.type) {
    case 'add':
      rules.set(order.rule.id, { rule: order.rule, left: order.rule.times ?? Infinity, waiting: [] })
      break
    case 'remove':
      letGo(order.rule)
      break
    case 'count':
      break
  }
  report({ type: 'done', order: order.id, counts: Object.fromEntries(counts) })
})
// Whoever started this has gone; the mount goes with the process.
process.on('disconnect', () => process.exit(0))

process.umask(0)
fuse.mount((error) => {
  if (error !== null) throw error
  report({ type: 'ready' })
})
