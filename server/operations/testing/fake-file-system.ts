// SPDX-License-Identifier: Apache-2.0
/** A file system without files: one function answers all operations. */
import { Field } from '../../../native/file-request.ts'
import type { FileOperation, FileOperations } from '../../../native/operations.ts'
import type { FileSystem, InitFeature } from '../../passthrough/file-system.ts'

/** What an operation was called with. */
export interface OperationCall {
  readonly name: keyof FileOperations
  readonly record: Float64Array
  readonly bytes: Uint8Array
  readonly reply: Uint8Array
}

export type Answer = (call: OperationCall) => number

/** The field of a record. */
export function field({ record }: OperationCall, name: keyof typeof Field): number {
  return record[Field[name]] ?? Number.NaN
}

/** Fills a part of the reply with zeros. @returns its length */
export function zeros(call: OperationCall, bytes: number): number {
  const offset = field(call, 'replyOffset')
  call.reply.fill(0, offset, offset + bytes)
  return bytes
}

/** All that is not zero, but for the directory and the reply's place. */
export function describeCall(call: OperationCall): string {
  const fields = Object.keys(Field).filter((name): name is keyof typeof Field => name in Field)
  const range = (begin: 'name' | 'second'): Uint8Array => {
    const offset = field(call, `${begin}Offset`)
    return call.bytes.slice(offset, offset + field(call, `${begin}Length`))
  }
  const described = fields.flatMap((name) => {
    if (name === 'directory' || name.startsWith('reply') || name.endsWith('Offset')) return []
    if (field(call, name) === 0) return []
    if (name === 'nameLength') return [`name=${Buffer.from(range('name')).toString('latin1')}`]
    if (name === 'secondLength') return [`second=${Buffer.from(range('second')).toString('latin1')}`]
    return [`${name}=${field(call, name)}`]
  })
  return [call.name, ...described].join(' ')
}

export class FakeFileSystem implements FileSystem {
  readonly directory = 0
  readonly operations: FileOperations
  readOnly = false
  initFlags = 0
  initFlags2 = 0
  initFeatures: readonly InitFeature[] = []
  xattr = true
  xattrMap: FileSystem['xattrMap']
  ownerRefused: () => void = () => {}
  begin: FileSystem['begin'] = () => {}
  reset: () => void = () => {}

  constructor(answer: Answer) {
    const on = (name: keyof FileOperations): FileOperation => {
      return (record, bytes, reply) => answer({ name, record, bytes, reply })
    }
    this.operations = {
      statx: on('statx'),
      readlink: on('readlink'),
      link: on('link'),
      lseek: on('lseek'),
      ioctl: on('ioctl'),
      getlk: on('getlk'),
      setlk: on('setlk'),
      flock: on('flock'),
      statfs: on('statfs'),
      setxattr: on('setxattr'),
      getxattr: on('getxattr'),
      listxattr: on('listxattr'),
      removexattr: on('removexattr'),
    }
  }
}
