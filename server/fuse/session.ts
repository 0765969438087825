// SPDX-License-Identifier: Apache-2.0
/**
 * What FUSE_INIT negotiated. The request queues' threads share it: INIT arrives on one of them and counts for all.
 */
const INITIALIZED = 0
const MINOR = 1
const FLAGS = 2
const FLAGS2 = 3
const WINDOW = 4
const EVERY_FILE = 5
/** How many INTERRUPTs have come, then the last ones' `unique`s, two words each. */
const INTERRUPTS = 6
const SHORTAGE = 7
const INTERRUPT_SLOTS = 64
const WORDS = 8 + 2 * INTERRUPT_SLOTS

const TWO_TO_32 = 4294967296

export class FuseSession {
  readonly #words: Int32Array

  /** @param buffer from `FuseSession.allocate`, one per daemon */
  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer)
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(WORDS * 4)
  }

  /** False before FUSE_INIT and after DESTROY, reset and disconnect. */
  get initialized(): boolean {
    return Atomics.load(this.#words, INITIALIZED) !== 0
  }

  get minor(): number {
    return this.#words[MINOR] ?? 0
  }

  get flags(): number {
    return this.#words[FLAGS] ?? 0
  }

  get flags2(): number {
    return this.#words[FLAGS2] ?? 0
  }

  /** Whether the guest may set up mappings: it agreed to FUSE_MAP_ALIGNMENT and the window was started. */
  get hasWindow(): boolean {
    return this.#words[WINDOW] !== 0
  }

  /**
   * Whether the guest reaches the data of every regular file through the window (`-o dax=always`), so that it has no
   * page cache that could be stale.
   */
  get daxForEveryFile(): boolean {
    return this.#words[EVERY_FILE] !== 0
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0
  }

  has2(flag2: number): boolean {
    return (this.flags2 & flag2) !== 0
  }

  start(minor: number, flags: number, flags2: number, window: boolean, daxForEveryFile: boolean): void {
    this.#words[MINOR] = minor
    this.#words[FLAGS] = flags
    this.#words[FLAGS2] = flags2
    this.#words[WINDOW] = window ? 1 : 0
    this.#words[EVERY_FILE] = daxForEveryFile ? 1 : 0
    Atomics.store(this.#words, INITIALIZED, 1)
  }

  /** A request that waits shall end; it may wait on any thread, or be unknown. */
  interrupt(unique: number): void {
    const slot = 8 + 2 * (Atomics.add(this.#words, INTERRUPTS, 1) & (INTERRUPT_SLOTS - 1))
    Atomics.store(this.#words, slot, (unique % TWO_TO_32) | 0)
    Atomics.store(this.#words, slot + 1, Math.floor(unique / TWO_TO_32) | 0)
  }

  /** Whether that request has been interrupted; true once. */
  takeInterrupt(unique: number): boolean {
    const low = (unique % TWO_TO_32) | 0
    const high = Math.floor(unique / TWO_TO_32) | 0
    for (let slot = 8; slot < WORDS; slot += 2) {
      if (Atomics.load(this.#words, slot) !== low || Atomics.load(this.#words, slot + 1) !== high) continue
      Atomics.store(this.#words, slot, 0)
      Atomics.store(this.#words, slot + 1, 0)
      return true
    }
    return false
  }

  /** Whether this is the first shortage of descriptors or inodes in the session. */
  takeShortage(): boolean {
    return Atomics.exchange(this.#words, SHORTAGE, 1) === 0
  }

  clear(): void {
    Atomics.store(this.#words, INITIALIZED, 0)
    this.#words[WINDOW] = 0
    this.#words[EVERY_FILE] = 0
    this.#words[SHORTAGE] = 0
  }
}
