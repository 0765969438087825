// SPDX-License-Identifier: Apache-2.0
/** What --cache and --writeback promise, through this kernel's own FUSE client: how fresh data are, and what is kept. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished, expect, test } from 'vitest'
import { DevFuse } from './harness/dev-fuse.ts'

const { O_APPEND, O_DIRECT, O_RDONLY, O_WRONLY } = fs.constants

/** Data and size as one open in the guest sees them. */
function readAndSize(path: string): [string, number] {
  const fd = fs.openSync(path, O_RDONLY)
  try {
    const buffer = Buffer.alloc(4096)
    const length = fs.readSync(fd, buffer, 0, buffer.length, 0)
    return [buffer.toString('utf8', 0, length), fs.fstatSync(fd).size]
  } finally {
    fs.closeSync(fd)
  }
}

/** Waits until the file's last change is so old that another one would show in its times. */
async function settled(path: string): Promise<void> {
  const when = fs.statSync(path).ctimeMs + 4000
  while (Date.now() < when) await delay(100)
}

test.each(['longer text', 'ab', 'xyz\n', ''])(
  'an open sees the file that the host has just made "%s"',
  async (text) => {
    const mount = await DevFuse.mount({ cache: 'auto' })
    fs.writeFileSync(mount.host('file'), 'abc\n')
    expect(fs.statSync(mount.guest('file')).size).toBe(4)
    expect(readAndSize(mount.guest('file'))).toEqual(['abc\n', 4])
    fs.writeFileSync(mount.host('file'), text)
    expect(readAndSize(mount.guest('file'))).toEqual([text, text.length])
    // And again, still within the second that attributes are kept for.
    fs.appendFileSync(mount.host('file'), 'more')
    expect(readAndSize(mount.guest('file'))).toEqual([`${text}more`, text.length + 4])
  },
)

test('a file that the host rewrites all the time can be opened', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  fs.writeFileSync(mount.host('log'), '')
  const writer = spawn('sh', ['-c', `while :; do echo line >>${mount.host('log')}; done`], { stdio: 'ignore' })
  onTestFinished(() => void writer.kill('SIGKILL'))
  while (fs.statSync(mount.host('log')).size === 0);
  const open = (): void => fs.closeSync(fs.openSync(mount.guest('log'), O_RDONLY))
  for (let i = 0; i < 300; i++) expect(open).not.toThrow()
})

test('an open through /proc, which can not be looked up again', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  fs.writeFileSync(mount.host('file'), 'abc\n')
  const fd = fs.openSync(mount.guest('file'), O_RDONLY)
  fs.writeFileSync(mount.host('file'), '123abc\n')
  expect(() => fs.closeSync(fs.openSync(`/proc/self/fd/${fd}`, O_RDONLY))).not.toThrow()
  fs.closeSync(fd)
})

test("the guest's own changes cost no second open", async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  fs.writeFileSync(mount.guest('file'), 'abc\n')
  const before = await mount.requests()
  for (let i = 1; i <= 5; i++) {
    fs.appendFileSync(mount.guest('file'), 'abc\n')
    expect(readAndSize(mount.guest('file'))[1]).toBe(4 * (i + 1))
    fs.truncateSync(mount.guest('file'), 4 * (i + 1))
    fs.chmodSync(mount.guest('file'), 0o600 + i)
  }
  const after = await mount.requests()
  expect((after['OPEN'] ?? 0) - (before['OPEN'] ?? 0)).toBeLessThanOrEqual(15)
})

test('data of a file that has not changed are read once', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  const data = Buffer.alloc(1 << 20, 'x')
  fs.writeFileSync(mount.host('file'), data)
  // Nobody can tell yet whether it will change within the grain of the clock.
  await settled(mount.host('file'))
  expect(fs.readFileSync(mount.guest('file')).equals(data)).toBe(true)
  const before = await mount.requests()
  for (let i = 0; i < 4; i++) expect(fs.readFileSync(mount.guest('file')).equals(data)).toBe(true)
  const after = await mount.requests()
  expect(after['READ']).toBe(before['READ'])
  expect((after['OPEN'] ?? 0) - (before['OPEN'] ?? 0)).toBe(4)
  // The same size, and the same modification time.
  const { atime, mtime } = fs.statSync(mount.host('file'))
  fs.writeFileSync(mount.host('file'), Buffer.alloc(1 << 20, 'y'))
  fs.utimesSync(mount.host('file'), atime, mtime)
  expect(fs.readFileSync(mount.guest('file'), 'utf8')).toBe('y'.repeat(1 << 20))
})

test('names of a directory that has not changed are read once', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  const names = Array.from({ length: 100 }, (_, i) => `name-${i}`).toSorted()
  fs.mkdirSync(mount.host('dir'))
  for (const name of names) fs.writeFileSync(mount.host('dir', name), '')
  await settled(mount.host('dir'))
  const list = (): string[] => fs.readdirSync(mount.guest('dir')).toSorted()
  const listings = async (): Promise<number> => {
    const { READDIR = 0, READDIRPLUS = 0 } = await mount.requests()
    return READDIR + READDIRPLUS
  }
  expect(list()).toEqual(names)
  const before = await listings()
  for (let i = 0; i < 4; i++) expect(list()).toEqual(names)
  expect(await listings()).toBe(before)
  // The host's change is seen at once, and again.
  fs.renameSync(mount.host('dir', 'name-0'), mount.host('dir', 'renamed'))
  expect(list()).toContain('renamed')
  fs.unlinkSync(mount.host('dir', 'renamed'))
  expect(list()).toEqual(names.filter((name) => name !== 'name-0'))
  fs.writeFileSync(mount.guest('dir', 'own'), '')
  expect(list()).toContain('own')
})

/** What a test counts: requests of an opcode since the last call. */
async function countsOf(mount: DevFuse, opcode: string): Promise<() => Promise<number>> {
  const total = async (): Promise<number> => (await mount.requests())[opcode] ?? 0
  let before = await total()
  return async () => {
    const now = await total()
    const count = now - before
    before = now
    return count
  }
}

test('a directory that is listed for attributes is not listed from the cache for long', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  fs.mkdirSync(mount.host('dir'))
  for (let i = 0; i < 8; i++) fs.writeFileSync(mount.host('dir', `name-${i}`), '')
  await settled(mount.host('dir'))
  const walk = async (): Promise<void> => {
    for (const name of fs.readdirSync(mount.guest('dir'))) fs.statSync(mount.guest('dir', name))
    // Until the attributes are forgotten.
    await delay(1100)
  }
  await walk()
  await walk()
  const listings = await countsOf(mount, 'READDIRPLUS')
  await walk()
  expect(await listings()).toBeGreaterThanOrEqual(1)
})

test('a walk over many directories costs no lookup for each of their files', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  const dirs = Array.from({ length: 20 }, (_, i) => `dir-${i}`)
  for (const dir of dirs) {
    fs.mkdirSync(mount.host(dir))
    for (let i = 0; i < 8; i++) fs.writeFileSync(mount.host(dir, `name-${i}`), '')
  }
  await settled(mount.host('dir-19'))
  const walk = async (): Promise<void> => {
    for (const dir of dirs) for (const name of fs.readdirSync(mount.guest(dir))) fs.statSync(mount.guest(dir, name))
    await delay(1100)
  }
  await walk()
  const lookups = await countsOf(mount, 'LOOKUP')
  await walk()
  // Those of the directories themselves.
  expect(await lookups()).toBeLessThanOrEqual(20)
})

test.each([
  ['never', 5],
  ['metadata', 1],
  ['always', 1],
] as const)('--cache=%s asks for a name that does not exist so often: %d of 5', async (cache, times) => {
  const mount = await DevFuse.mount({ cache })
  const lookups = await countsOf(mount, 'LOOKUP')
  for (let i = 0; i < 5; i++) expect(fs.existsSync(mount.guest('nothing'))).toBe(false)
  expect(await lookups()).toBe(times)
  fs.writeFileSync(mount.guest('nothing'), 'own')
  expect(fs.readFileSync(mount.host('nothing'), 'utf8')).toBe('own')
  fs.renameSync(mount.guest('nothing'), mount.guest('other'))
  expect(fs.existsSync(mount.guest('nothing'))).toBe(false)
  fs.linkSync(mount.guest('other'), mount.guest('nothing'))
  expect(fs.readFileSync(mount.guest('nothing'), 'utf8')).toBe('own')
})

test('a name that the host makes is there after a second', async () => {
  const mount = await DevFuse.mount({ cache: 'auto' })
  const lookups = await countsOf(mount, 'LOOKUP')
  expect(fs.existsSync(mount.guest('name'))).toBe(false)
  fs.writeFileSync(mount.host('name'), 'text')
  // The guest's clock for this ticks every few milliseconds.
  await delay(1100)
  expect(fs.readFileSync(mount.guest('name'), 'utf8')).toBe('text')
  expect(await lookups()).toBe(2)
})

test('what must not exist is looked for, whatever the guest remembers', async () => {
  const mount = await DevFuse.mount({ cache: 'always' })
  const names = ['opened', 'made', 'linked', 'renamed', 'shared'] as const
  for (const name of names) expect(fs.existsSync(mount.guest(name))).toBe(false)
  for (const name of names) fs.writeFileSync(mount.host(name), name)
  fs.writeFileSync(mount.guest('own'), 'own')
  const [opened, made, linked, renamed, shared] = names.map((name) => mount.guest(name))
  expect(() => fs.openSync(opened ?? '', 'wx')).toThrow(/EEXIST/)
  expect(() => fs.mkdirSync(made ?? '')).toThrow(/EEXIST/)
  expect(() => fs.linkSync(mount.guest('own'), linked ?? '')).toThrow(/EEXIST/)
  fs.renameSync(mount.guest('own'), renamed ?? '')
  expect(fs.readFileSync(mount.host('renamed'), 'utf8')).toBe('own')
  // Opened as it is, not made anew.
  fs.closeSync(fs.openSync(shared ?? '', 'a'))
  expect(names.map((name) => fs.readFileSync(mount.guest(name), 'utf8'))).toEqual([
    'opened',
    'made',
    'linked',
    'own',
    'shared',
  ])
})

test('names of a file system of others are asked for each time', async () => {
  const below = await DevFuse.mount({ cache: 'never' })
  const mount = await DevFuse.mount({ cache: 'always', inodeFileHandles: 'never' }, below.mountPoint)
  expect(fs.existsSync(mount.guest('name'))).toBe(false)
  fs.writeFileSync(below.host('name'), 'text')
  expect(fs.readFileSync(mount.guest('name'), 'utf8')).toBe('text')
})

/** Closes a file four times after it has been written to. */
function writeFourTimes(mount: DevFuse): void {
  for (let i = 0; i < 3; i++) fs.writeFileSync(mount.guest('file'), `text ${i}`)
  fs.appendFileSync(mount.guest('file'), ', more')
  expect(fs.readFileSync(mount.host('file'), 'utf8')).toBe('text 2, more')
}

test('closing what has been written costs no FLUSH, but where somebody waits for one', async () => {
  const local = await DevFuse.mount({ cache: 'auto' })
  const localFlushes = await countsOf(local, 'FLUSH')
  writeFourTimes(local)
  expect(await localFlushes()).toBe(0)
  const locking = await DevFuse.mount({ cache: 'auto', posixLocks: true })
  // FUSE has a flush.
  const above = await DevFuse.mount({ cache: 'auto', inodeFileHandles: 'never' }, local.mountPoint)
  for (const mount of [locking, above]) {
    const flushes = await countsOf(mount, 'FLUSH')
    writeFourTimes(mount)
    expect(await flushes()).toBe(4)
  }
})

test.each(['never', 'auto'] as const)('--cache=%s keeps no targets of links that change', async (cache) => {
  const child = spawn('sh', ['-c', 'cd /usr; echo; read x; cd /etc; echo; read x'], { stdio: 'pipe' })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const mount = await DevFuse.mount({ cache, inodeFileHandles: 'never' }, `/proc/${child.pid}`)
  expect(fs.readlinkSync(mount.guest('cwd'))).toBe('/usr')
  child.stdin.write('\n')
  await once(child.stdout, 'data')
  expect(fs.readlinkSync(mount.guest('cwd'))).toBe('/etc')
})

test.each(['never', 'metadata', 'auto', 'always'] as const)('files without a size are read: %s', async (cache) => {
  const proc = await DevFuse.mount({ cache, inodeFileHandles: 'never' }, '/proc')
  expect(fs.statSync(proc.guest('1/status')).size).toBe(0)
  expect(fs.readFileSync(proc.guest('1/status'), 'utf8')).toContain('Name:')
  const name = (): string => fs.readFileSync(proc.guest(String(process.pid), 'comm'), 'utf8').trim()
  for (const text of ['one', 'longer']) {
    fs.writeFileSync('/proc/self/comm', text)
    expect(name()).toBe(text)
  }
  const sys = await DevFuse.mount({ cache, inodeFileHandles: 'never' }, '/sys/kernel')
  expect(fs.readFileSync(sys.guest('fscaps'), 'utf8')).toBe(fs.readFileSync('/sys/kernel/fscaps', 'utf8'))
})

test.each([
  ['auto', false],
  ['auto', true],
  ['always', true],
  ['never', true],
] as const)('appends in any mix lose nothing: --cache=%s, writeback %s', async (cache, writeback) => {
  const mount = await DevFuse.mount({ cache, writeback })
  const path = mount.guest('log')
  const buffered = fs.openSync(path, O_WRONLY | O_APPEND | fs.constants.O_CREAT)
  const direct = fs.openSync(path, O_WRONLY | O_APPEND | O_DIRECT)
  let wanted = ''
  // Where a page is full, a direct write does not wait for it to be written back.
  const lengths = [4096, 4096, 100, 3996, 8192, 1, 4095]
  for (let i = 0; i < 70; i++) {
    const text = String.fromCodePoint(97 + (i % 26)).repeat(lengths[i % lengths.length] ?? 0)
    fs.writeSync(i % 3 === 1 ? direct : buffered, text)
    wanted += text
    if (i % 20 === 19) fs.fsyncSync(buffered)
  }
  fs.closeSync(direct)
  fs.closeSync(buffered)
  const fd = fs.openSync(path, O_RDONLY)
  expect(fs.readFileSync(path, 'utf8') === wanted).toBe(true)
  fs.fsyncSync(fd)
  fs.closeSync(fd)
  expect(fs.readFileSync(mount.host('log'), 'utf8') === wanted).toBe(true)
})
