// SPDX-License-Identifier: Apache-2.0
/** What the Windows driver does, in its order; see harness/windows-driver.ts. */
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT_ID } from './harness/fuse-abi.ts'
import { outcome, startSession } from './harness/session.ts'
import { FATTR, MAX_PAGES, NOREPLACE, WindowsDriver } from './harness/windows-driver.ts'

const S_IFDIR = 0o040000
const S_IFMT = 0o170000

async function startWindows(): Promise<{ driver: WindowsDriver; at: (path: string) => string }> {
  const session = await startSession({ noInit: true })
  const at = (path: string): string => join(session.daemon.sharedDir, path)
  return { driver: new WindowsDriver(session), at }
}

test('mounts: the root by the name "."', async () => {
  const { driver, at } = await startWindows()
  const root = driver.find('')
  expect(root.nodeid).toBe(ROOT_ID)
  expect(root.attr.ino).toBe(statSync(at('.'), { bigint: true }).ino)
  expect(root.attr.mode & S_IFMT).toBe(S_IFDIR)
  expect([driver.version, driver.flags & MAX_PAGES]).toEqual([[7, 31], MAX_PAGES])
  expect([driver.maxWrite, driver.maxPages]).toEqual([1 << 20, 256])
  // A relative link leads through "..", which is not above the root.
  expect(driver.lookup(ROOT_ID, '..').nodeid).toBe(ROOT_ID)
  mkdirSync(at('directory'))
  expect(outcome(() => driver.lookup(driver.find('directory').nodeid, '.'))).toBe('EINVAL')
})

test('copies a file into a new folder and reads it back', async () => {
  const { driver, at } = await startWindows()
  expect(outcome(() => driver.find('folder'))).toBe('ENOENT')
  const folder = driver.mkdir('folder')
  expect(driver.close(folder.nodeid, folder.fh, true)).toBe('ok')
  expect(outcome(() => driver.find('folder/copy.bin'))).toBe('ENOENT')
  const { nodeid, fh } = driver.create('folder/copy.bin')
  const bytes = Buffer.from(Array.from({ length: (3 << 20) + 123 }, (_, i) => (i * 31) ^ (i >> 8)))
  driver.allocate(nodeid, fh, bytes.length)
  expect(driver.getattr(nodeid).size).toBe(0)
  driver.write(nodeid, fh, bytes)
  driver.flush(nodeid, fh)
  driver.setattr(nodeid, FATTR.FH | FATTR.MODE | FATTR.ATIME | FATTR.MTIME | FATTR.CTIME, {
    fh,
    mode: 0o444,
    time: 1e9,
  })
  expect(driver.close(nodeid, fh)).toBe('ok')
  expect(readFileSync(at('folder/copy.bin')).equals(bytes)).toBe(true)
  const { mode, mtimeMs, uid } = statSync(at('folder/copy.bin'))
  expect([mode & 0o777, mtimeMs, uid]).toEqual([0o444, 1e12, driver.owner.uid])

  const found = driver.find('folder/copy.bin')
  expect(found.nodeid).toBe(nodeid)
  driver.setattr(nodeid, FATTR.MODE, { mode: 0o664 })
  const again = driver.open(nodeid)
  expect(driver.read(nodeid, again, 8 << 20).equals(bytes)).toBe(true)
  // Overwritten: its size goes without the handle.
  driver.setattr(nodeid, FATTR.SIZE, { size: 0 })
  expect(driver.read(nodeid, again, 100)).toHaveLength(0)
  expect(driver.close(nodeid, again)).toBe('ok')
})

test('lists folders by small steps, and knows the empty ones', async () => {
  const { driver, at } = await startWindows()
  mkdirSync(at('full'))
  const names = Array.from({ length: 300 }, (_, i) => `file with a longer name ${i}`)
  for (const name of names) writeFileSync(at(`full/${name}`), name)
  const full = driver.find('full').nodeid
  const fh = driver.open(full, true)
  const entries = driver.list(full, fh, 4096)
  expect(entries.map(({ name }) => name).toSorted()).toEqual(['.', '..', ...names].toSorted())
  for (const { name, entry } of entries) {
    // It makes no difference between names and what they mean.
    const directory = name === '.' || name === '..'
    expect([name, ((entry?.attr.mode ?? 0) & S_IFMT) === S_IFDIR]).toEqual([name, directory])
    if (!directory) expect(entry?.attr.size).toBe(name.length)
  }
  expect(driver.isEmpty(full, fh)).toBe(false)
  driver.close(full, fh, true)
  const empty = driver.mkdir('empty')
  expect(driver.isEmpty(empty.nodeid, empty.fh)).toBe(true)
  driver.remove('empty', empty.nodeid, true)
  expect(driver.close(empty.nodeid, empty.fh, true)).toBe('ok')
  expect(existsSync(at('empty'))).toBe(false)
})

test('renames, replaces and removes what is open', async () => {
  const { driver, at } = await startWindows()
  for (const name of ['old', 'other']) writeFileSync(at(name), name)
  for (const name of ['one', 'two']) mkdirSync(at(name))
  const old = driver.find('old').nodeid
  const fh = driver.open(old)
  expect(outcome(() => driver.rename('old', 'other', NOREPLACE))).toBe('EEXIST')
  driver.rename('old', 'one/new', NOREPLACE)
  driver.rename('one/new', 'other', 0)
  expect([readFileSync(at('other'), 'utf8'), existsSync(at('old'))]).toEqual(['old', false])
  expect(outcome(() => driver.rename('one', 'two', NOREPLACE))).toBe('EEXIST')
  driver.rename('one', 'three', NOREPLACE)
  expect(driver.find('other').nodeid).toBe(old)
  // Open handles go on after the name has gone, and the nodeid with it.
  driver.remove('other', old)
  expect(existsSync(at('other'))).toBe(false)
  expect(driver.close(old, fh)).toBe('ok')
})

test('follows links by itself and makes them in place of files', async () => {
  const { driver, at } = await startWindows()
  mkdirSync(at('real'))
  writeFileSync(at('real/file'), 'found')
  symlinkSync('real', at('link'))
  const link = driver.find('link').nodeid
  expect(driver.readlink(link)).toBe('real')
  // A link is never opened, but closed all the same.
  driver.close(link, 0xffff_ffff_ffff_ffffn)
  const placeholder = driver.create('made')
  driver.remove('made', placeholder.nodeid)
  driver.symlink('made', '../real/file')
  expect(driver.close(placeholder.nodeid, placeholder.fh)).toBe('ok')
  expect(driver.readlink(driver.find('made').nodeid)).toBe('../real/file')
  expect(driver.find('../real/file').attr.size).toBe(5)
  driver.destroy()
  expect(outcome(() => driver.find('real'))).toBe('ENOTCONN')
  // The service starts again.
  expect(new WindowsDriver(driver.session).find('real/file').attr.size).toBe(5)
})
