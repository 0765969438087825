// SPDX-License-Identifier: Apache-2.0
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readLog, replay } from './write-log.ts'

const SECTOR = 512
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'write-log-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

function head(count: number): Buffer {
  const bytes = Buffer.alloc(SECTOR)
  bytes.writeBigUInt64LE(0x6a736677736872n, 0)
  bytes.writeBigUInt64LE(1n, 8)
  bytes.writeBigUInt64LE(BigInt(count), 16)
  bytes.writeUInt32LE(SECTOR, 24)
  return bytes
}

function entry(sector: number, count: number, flags: number, text = ''): Buffer {
  const bytes = Buffer.alloc(SECTOR)
  for (const [i, value] of [sector, count, flags, text.length].entries()) bytes.writeBigUInt64LE(BigInt(value), i * 8)
  bytes.write(text, 32)
  return bytes
}

function withLog<T>(parts: readonly Buffer[], use: (log: number) => T): T {
  writeFileSync(join(dir, 'log'), Buffer.concat(parts))
  const log = openSync(join(dir, 'log'), 'r')
  try {
    return use(log)
  } finally {
    closeSync(log)
  }
}

test('replays writes, zeros and empty flushes in their order, up to a mark', () => {
  const parts = [
    head(6),
    entry(1, 2, 0),
    Buffer.alloc(2 * SECTOR, 'a'),
    entry(0, 0, 1),
    entry(2, 1, 2),
    Buffer.alloc(SECTOR, 'b'),
    entry(0, 0, 8, 'one'),
    entry(1, 1, 4),
    entry(0, 0, 8, 'two'),
  ]
  withLog(parts, (log) => {
    const entries = readLog(log)
    expect(entries.map(({ mark }) => mark)).toEqual([undefined, undefined, undefined, 'one', undefined, 'two'])
    const at = (mark: string): string => {
      writeFileSync(join(dir, 'device'), Buffer.alloc(4 * SECTOR, '.'))
      const device = openSync(join(dir, 'device'), 'r+')
      replay(
        log,
        entries.slice(
          0,
          entries.findIndex((one) => one.mark === mark),
        ),
        device,
      )
      closeSync(device)
      return readFileSync(join(dir, 'device'), 'latin1').replace(/(.)\1{511}/gs, '$1')
    }
    expect(at('one')).toBe('.ab.')
    expect(at('two')).toBe('.\0b.')
  })
})

test('refuses what is no log, or ends too early', () => {
  expect(() => withLog([Buffer.alloc(SECTOR)], readLog)).toThrow('no log')
  expect(() => withLog([head(1)], readLog)).toThrow('ends before')
  expect(() => withLog([head(1), entry(0, 9, 0), Buffer.alloc(SECTOR)], readLog)).toThrow('beyond the end')
})
