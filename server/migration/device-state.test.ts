// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { decodeState, type DeviceState, encodeState, type StateInode } from './device-state.ts'
import { PostcardError } from './postcard.ts'
import { toDirectory } from './restore.ts'

const OPTIONS = { writeback: false, announceSubmounts: true, posixAcl: false, supplementaryGroup: true }

/** What virtiofsd 1.13.2 sends of a guest that has a/b/deep open for both, a as a directory, and knows a link. */
const OF_VIRTIOFSD = Buffer.from(
  '01050104000002030101016100030201020162000401010304646565700005010101046c696e6b000602000400040102008080080200010001' +
    '00',
  'hex',
)

const inode = (id: number, location: StateInode['location'], lookups = 1): StateInode => ({
  id,
  lookups,
  location,
  expected: undefined,
})
const ROOT = inode(1, { kind: 'root' }, 2)
const handle = { mount: 29, type: 1, bytes: Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]) }

const STATE: DeviceState = {
  inodes: [
    ROOT,
    inode(2, { kind: 'path', path: Buffer.from('a/b') }, Number.MAX_SAFE_INTEGER),
    inode(3, { kind: 'path', path: Buffer.from([0x61, 0xff]) }),
    inode(300, { kind: 'lost' }),
    { ...inode(5, { kind: 'handle', handle }), expected: handle },
  ],
  nextInode: 301,
  handles: [{ id: 200, inode: 2, flags: 2 }],
  nextHandle: 201,
  options: OPTIONS,
  mountPaths: [{ mount: 29, path: '.' }],
  session: { minor: 46, flags: -1, flags2: 0x7fff_ffff, generation: 0x7fff_ffff },
}

test('what is written is read', () => {
  expect(decodeState(encodeState(STATE))).toEqual(STATE)
  expect(decodeState(encodeState({ ...STATE, session: null }))).toEqual({ ...STATE, session: null })
})

test('what a virtiofsd sends is read', () => {
  const state = decodeState(OF_VIRTIOFSD)
  expect(state).toEqual({
    inodes: [
      inode(1, { kind: 'root' }, 4),
      inode(2, { kind: 'child', parent: 1, name: 'a' }, 3),
      inode(3, { kind: 'child', parent: 2, name: 'b' }, 2),
      inode(4, { kind: 'child', parent: 3, name: 'deep' }),
      inode(5, { kind: 'child', parent: 1, name: 'link' }),
    ],
    nextInode: 6,
    handles: [
      { id: 0, inode: 4, flags: 2 },
      { id: 1, inode: 2, flags: 0x10000 },
    ],
    nextHandle: 2,
    options: OPTIONS,
    mountPaths: [],
    session: undefined,
  })
  // Of its lookups, those are not the guest's that stand for what lies in an inode.
  expect(
    toDirectory(state, 0, false).inodes.map(({ nodeid, lookups, path }) => [nodeid, lookups, path?.toString()]),
  ).toEqual([
    [2, 2, 'a'],
    [5, 1, 'link'],
    [3, 1, 'a/b'],
    [4, 1, 'a/b/deep'],
  ])
})

test('and written as it reads it: ours is behind it', () => {
  const { session: _, ...theirs } = decodeState(OF_VIRTIOFSD)
  expect(encodeState({ ...theirs, session: undefined })).toEqual(OF_VIRTIOFSD)
  const ours = encodeState({ ...theirs, session: STATE.session })
  expect(ours.subarray(0, OF_VIRTIOFSD.length)).toEqual(OF_VIRTIOFSD)
})

test('its version 1 has no mount paths', () => {
  const first = Buffer.from(OF_VIRTIOFSD.subarray(0, -1))
  first[0] = 0
  expect(decodeState(first)).toEqual(decodeState(OF_VIRTIOFSD))
})

test('nothing that is cut off is read', () => {
  const bytes = encodeState(STATE)
  const whole = bytes.indexOf('viewfsd\0', 0, 'latin1')
  for (let length = 0; length < bytes.length; length++) {
    const read = (): unknown => decodeState(bytes.subarray(0, length))
    // Up to there it is what a virtiofsd would send.
    if (length === whole) expect(read).not.toThrow()
    else expect(read).toThrow(PostcardError)
  }
})

test('whatever a byte becomes, it is read or refused', () => {
  const bytes = encodeState(STATE)
  for (let at = 0; at < bytes.length; at++) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      const other = Buffer.from(bytes)
      other[at] = value
      try {
        toDirectory(decodeState(other), 0, true)
      } catch (error) {
        expect(error).toBeInstanceOf(PostcardError)
      }
    }
  }
})

describe('refuses', () => {
  const withInodes = (...inodes: StateInode[]): Buffer => encodeState({ ...STATE, handles: [], inodes })
  test.each([
    ['a version that is too new', Buffer.from([2, ...encodeState(STATE).subarray(1)]), /its version is 3/],
    ['a part of ours that is too new', newerPart(), /version 2 of its part/],
    [
      'what nobody sends',
      Buffer.concat([OF_VIRTIOFSD, Buffer.from('something else')]),
      /neither viewfsd nor virtiofsd/,
    ],
    [
      'an inode twice',
      withInodes(ROOT, inode(2, { kind: 'lost' }), inode(2, { kind: 'lost' })),
      /inode 2 is there twice/,
    ],
    ['an inode beyond the next', withInodes(inode(301, { kind: 'lost' })), /inode 301 can't be/],
    ['another root', withInodes(inode(2, { kind: 'root' })), /inode 2 is found in the wrong way/],
    ['a root elsewhere', withInodes(inode(1, { kind: 'lost' })), /inode 1 is found in the wrong way/],
    ['a number that is not exact', Buffer.from([1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), /larger than/],
  ])('%s', (_name, bytes, message) => {
    expect(() => decodeState(bytes)).toThrow(message)
  })

  test.each([
    [
      'an inode that lies in itself',
      [inode(2, { kind: 'child', parent: 3, name: 'a' }, 2), inode(3, { kind: 'child', parent: 2, name: 'b' }, 2)],
      /lies in itself/,
    ],
    ['one that lies in nothing', [inode(2, { kind: 'child', parent: 9, name: 'a' })], /inode 9 is not there/],
    [
      'one that is not counted',
      [inode(2, { kind: 'lost' }, 0), inode(3, { kind: 'child', parent: 2, name: 'a' })],
      /less often/,
    ],
    [
      'a handle that is too long',
      [inode(2, { kind: 'handle', handle: { ...handle, bytes: Buffer.alloc(129) } })],
      /file handle/,
    ],
    ['a handle of no type', [inode(2, { kind: 'handle', handle: { ...handle, type: -1 } })], /file handle/],
  ])('%s', (_name, inodes, message) => {
    expect(() => toDirectory({ ...STATE, inodes: [ROOT, ...inodes] }, 0, true)).toThrow(message)
  })
})

function newerPart(): Buffer {
  const bytes = Buffer.from(encodeState(STATE))
  bytes[bytes.indexOf('viewfsd\0', 0, 'latin1') + 8] = 2
  return bytes
}

test('handles are not taken unless that is wanted', () => {
  expect(() => toDirectory(STATE, 0, false)).toThrow(/--migration-mode=file-handles/)
  expect(toDirectory(STATE, 7, true)).toMatchObject({ generation: 7, nextNodeid: 301, nextFh: 201 })
})
