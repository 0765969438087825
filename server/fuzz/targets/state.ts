// SPDX-License-Identifier: Apache-2.0
/**
 * The state of a device that somebody sends: the bytes of a program are decoded and, where that goes, restored in a real directory. What is
 * read is written again, and read as the same. Whatever it says, no inode is one of the directory's surroundings, the tables are empty
 * afterwards, and no descriptor stays open.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { fileSystem as native, restoreDirectory, saveDirectory } from '../../../native/index.ts'
import { counts } from '../../../native/testing/index.ts'
import { decodeState, encodeState } from '../../migration/device-state.ts'
import { PostcardError } from '../../migration/postcard.ts'
import { toDirectory } from '../../migration/restore.ts'
import { createSharedDirectory } from '../../passthrough/passthrough-file-system.ts'
import type { Target } from '../engine/target.ts'
import { hash } from './hash.ts'

/** Far more than a mutation of a short state asks for. */
const MOST_NODEIDS = 2 ** 40

export class StateTarget implements Target {
  readonly name = 'state'
  readonly #scratch = fs.mkdtempSync(path.join(process.env['VIEWFSD_TEST_DIR'] ?? os.tmpdir(), 'viewfsd-fuzz-'))
  readonly #share = path.join(this.#scratch, 'share')
  readonly #directory: number
  #descriptors = Infinity

  constructor() {
    fs.mkdirSync(path.join(this.#share, 'd'), { recursive: true })
    fs.writeFileSync(path.join(this.#scratch, 'secret'), 'secret')
    fs.writeFileSync(path.join(this.#share, 'a'), 'a file')
    fs.writeFileSync(path.join(this.#share, 'd/e'), '')
    fs.symlinkSync('..', path.join(this.#share, 'up'))
    this.#directory = createSharedDirectory(this.#share, { descriptorLimit: 0 })
  }

  covers(url: string): boolean {
    return /\/server\/migration\/[^/]*$/.test(url)
  }

  async run(program: Uint8Array): Promise<Iterable<number>> {
    let wanted: ReturnType<typeof toDirectory>
    try {
      const state = decodeState(Buffer.from(program))
      if (!isDeepStrictEqual(decodeState(encodeState(state)), state)) throw new Error('written otherwise than read')
      wanted = toDirectory(state, 0, false)
    } catch (error) {
      if (!(error instanceof PostcardError)) throw error
      return [hash(error.message.replaceAll(/\d+/g, ''))]
    }
    // They are not given out again as long as the tables live.
    if (wanted.nextNodeid > MOST_NODEIDS || wanted.nextFh > MOST_NODEIDS) return [0]
    const lost = await restoreDirectory(this.#directory, -1, wanted)
    await this.#check(wanted.inodes.length - lost.inodes.length)
    native.reset(this.#directory)
    const [inodes, handles] = [counts.inodes(this.#directory), counts.handles(this.#directory)]
    if (inodes !== 1 || handles !== 0) throw new Error(`${inodes} inodes and ${handles} handles are left`)
    const descriptors = fs.readdirSync('/proc/self/fd').length
    // What others in this process have used may be closed late.
    if (descriptors > this.#descriptors) throw new Error(`${descriptors} descriptors, not ${this.#descriptors}`)
    this.#descriptors = descriptors
    return [...lost.inodes.map(({ errno }) => 1000 + errno), ...lost.handles.map(({ errno }) => 2000 + errno)]
  }

  /** @param restored how many there have to be */
  async #check(restored: number): Promise<void> {
    const saved = await saveDirectory(this.#directory, -1, true, false)
    const found = saved.inodes.filter((inode) => inode.path !== undefined)
    if (found.length !== restored) throw new Error(`${found.length} inodes are there, not ${restored}`)
    for (const { path: where } of found) {
      // Throws where there is none; links are not followed.
      fs.lstatSync(path.join(this.#share, where?.toString() ?? ''))
      if (where?.toString().split('/').includes('..')) throw new Error(`an inode outside: ${where.toString()}`)
    }
  }

  close(): Promise<void> {
    fs.rmSync(this.#scratch, { recursive: true })
    return Promise.resolve()
  }
}
