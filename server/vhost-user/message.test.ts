// SPDX-License-Identifier: Apache-2.0
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeConfig,
  decodeHeader,
  decodeMemoryRegion,
  decodeMemoryTable,
  decodeVringAddress,
  decodeVringFd,
  decodeVringState,
  encodeConfig,
  encodeReply,
  encodeShmemConfig,
  encodeU64,
  encodeVringState,
  FrontendRequest,
  type Message,
  requestName,
  VhostUserError,
} from './message.ts'

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'))
}

function view(hex: string): DataView {
  return new DataView(bytes(hex).buffer)
}

function message(request: number, hex: string, fds: number[] = []): Message {
  return { request, needReply: false, payload: view(hex), fds }
}

describe('headers', () => {
  test('decodes SET_MEM_TABLE with need_reply as QEMU sends it', () => {
    expect(decodeHeader(view('05000000 09000000 28000000'))).toEqual({
      request: FrontendRequest.SET_MEM_TABLE,
      needReply: true,
      payloadBytes: 40,
    })
  })

  test.each([
    ['another version', '01000000 02000000 00000000', 'ERR_VHOST_USER_VERSION'],
    ['a reply', '01000000 05000000 00000000', 'ERR_VHOST_USER_FLAGS'],
    ['a payload of 4 GiB', '01000000 01000000 ffffffff', 'ERR_VHOST_USER_SIZE'],
  ])('refuses %s', (_name, hex, code) => {
    expect(() => decodeHeader(view(hex))).toThrow(expect.objectContaining({ code }))
  })

  test('names what it knows', () => {
    expect(requestName(44)).toBe('GET_SHMEM_CONFIG')
    expect(requestName(999)).toBe('request 999')
  })
})

describe('payloads', () => {
  test('a reply has version 1 and the reply flag', () => {
    expect(encodeReply(FrontendRequest.GET_FEATURES, encodeU64(0x1_7000_0000n))).toEqual(
      bytes('01000000 05000000 08000000 0000007001000000'),
    )
  })

  test('vring state', () => {
    expect(decodeVringState(message(8, '01000000 00040000'))).toEqual({ index: 1, num: 1024 })
    expect(encodeVringState(1, 513)).toEqual(bytes('01000000 01020000'))
  })

  test('vring addresses: descriptor, used, available, log', () => {
    const payload = '02000000 01000000 0010000000000000 0030000000000000 0020000000000000 0000000000000000'
    expect(decodeVringAddress(message(9, payload))).toEqual({
      index: 2,
      log: true,
      descriptor: 0x1000n,
      used: 0x3000n,
      available: 0x2000n,
    })
  })

  test('vring descriptors are taken out of the message', () => {
    const kick = message(12, '0100000000000000', [77])
    expect(decodeVringFd(kick, 2)).toEqual({ index: 1, fd: 77 })
    expect(kick.fds).toEqual([])
  })

  test('a vring message without descriptor', () => {
    expect(decodeVringFd(message(13, '0101000000000000'), 2)).toEqual({ index: 1, fd: -1 })
  })

  test.each([
    ['no descriptor', message(12, '0000000000000000'), 'ERR_VHOST_USER_FD_COUNT'],
    ['two descriptors', message(12, '0000000000000000', [3, 4]), 'ERR_VHOST_USER_FD_COUNT'],
    ['a queue that is not there', message(12, '0200000000000000', [3]), 'ERR_VHOST_USER_QUEUE'],
    ['a short payload', message(12, '00000000', [3]), 'ERR_VHOST_USER_SIZE'],
  ])('refuses a kick with %s, and leaves the descriptors to be closed', (_name, kick, code) => {
    const { length } = kick.fds
    expect(() => decodeVringFd(kick, 2)).toThrow(expect.objectContaining({ code }))
    expect(kick.fds.length).toBe(length)
  })

  test('a memory table of two regions', () => {
    const table = message(
      5,
      `02000000 00000000
       0000000000000000 0000008000000000 0000000000700000 0000000000000000
       0000000001000000 0000008000000000 0000008000700000 0000008000000000`,
      [5, 6],
    )
    expect([...decodeMemoryTable(table)]).toEqual([
      0n,
      0x80000000n,
      0x700000000000n,
      0n,
      0x100000000n,
      0x80000000n,
      0x700080000000n,
      0x80000000n,
    ])
  })

  test('refuses a table whose count, size or descriptors disagree', () => {
    const region = '00'.repeat(32)
    expect(() => decodeMemoryTable(message(5, `02000000 00000000 ${region}`, [5, 6]))).toThrow(VhostUserError)
    expect(() => decodeMemoryTable(message(5, `01000000 00000000 ${region}`, []))).toThrow(VhostUserError)
    expect(() => decodeMemoryTable(message(5, 'ffffffff 00000000', []))).toThrow(VhostUserError)
    expect(() => decodeMemoryTable(message(5, '0100', []))).toThrow(VhostUserError)
  })

  test('a single region follows 8 bytes of padding', () => {
    const region = '0010000000000000 0020000000000000 0030000000000000 0040000000000000'
    expect([...decodeMemoryRegion(message(37, `0000000000000000 ${region}`))]).toEqual([
      0x1000n,
      0x2000n,
      0x3000n,
      0x4000n,
    ])
  })

  test('configuration space', () => {
    expect(decodeConfig(message(24, `02000000 03000000 00000000 000000`))).toEqual({ offset: 2, size: 3 })
    expect(encodeConfig(2, bytes('746167'))).toEqual(bytes('02000000 03000000 00000000 746167'))
    expect(() => decodeConfig(message(24, '00000000 ff000000 00000000 00'))).toThrow(VhostUserError)
  })

  test('shared memory: 2056 bytes, one region or none', () => {
    const config = encodeShmemConfig(2 ** 33)
    expect(config.length).toBe(2056)
    expect(config.subarray(0, 16)).toEqual(bytes('01000000 00000000 0000000002000000'))
    expect(config.subarray(16).every((byte) => byte === 0)).toBe(true)
    expect(encodeShmemConfig(0).every((byte) => byte === 0)).toBe(true)
  })

  test('no payload whatsoever makes a decoder do more than throw VhostUserError', () => {
    const decoders = [decodeVringState, decodeVringAddress, decodeMemoryTable, decodeMemoryRegion, decodeConfig]
    fc.assert(
      fc.property(fc.constantFrom(...decoders), fc.uint8Array({ maxLength: 200 }), (decode, payload) => {
        const fault = { request: 5, needReply: false, payload: new DataView(payload.slice().buffer), fds: [] }
        try {
          decode(fault)
        } catch (error) {
          expect(error).toBeInstanceOf(VhostUserError)
        }
      }),
    )
  })
})
