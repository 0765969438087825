// SPDX-License-Identifier: Apache-2.0
/**
 * What FUSE_INIT negotiated. The request queues' threads share it: INIT arrives on one of them and counts for all.
 */
/** Odd from FUSE_INIT to the end of the session, even otherwise; each session has other numbers. */
const STATE = 0
const MINOR = 1
const FLAGS = 2
const FLAGS2 = 3
const WINDOW = 4
const EVERY_FILE = 5
const SHORTAGE = 6
/** 1: a guest goes on here that has mounted elsewhere; 2: it has asked for something. */
const FOREIGN = 7
/** How many INTERRUPTs have come, then the last ones: `unique` in two words, and its session's number plus one. */
const INTERRUPTS = 8
const FIRST_SLOT = 9
const SLOT_WORDS = 3
const INTERRUPT_SLOTS = 64
const WORDS = FIRST_SLOT + SLOT_WORDS * INTERRUPT_SLOTS

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
    return (Atomics.load(this.#words, STATE) & 1) !== 0
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

  /**
   * @param ended from `clear`
   * @returns false where the session has been cleared again since: it is not started then
   */
  start(
    ended: number,
    minor: number,
    flags: number,
    flags2: number,
    window: boolean,
    daxForEveryFile: boolean,
  ): boolean {
    this.#words[MINOR] = minor
    this.#words[FLAGS] = flags
    this.#words[FLAGS2] = flags2
    this.#words[WINDOW] = window ? 1 : 0
    this.#words[EVERY_FILE] = daxForEveryFile ? 1 : 0
    return Atomics.compareExchange(this.#words, STATE, ended, ended + 1) === ended
  }

  /** What `restore` needs of a session that has begun. */
  get words(): readonly number[] {
    return [MINOR, FLAGS, FLAGS2, WINDOW, EVERY_FILE].map((place) => this.#words[place] ?? 0)
  }

  /** Begins the session that a predecessor of this process had. */
  restore([minor = 0, flags = 0, flags2 = 0, window = 0, everyFile = 0]: readonly number[]): void {
    this.start(this.clear(), minor, flags, flags2, window !== 0, everyFile !== 0)
  }

  /**
   * A request that waits shall end; it may wait on any thread, or be unknown.
   * @param number of the guest's session that asks for it: see FuseChannel
   */
  interrupt(unique: number, number: number): void {
    const turn = Atomics.add(this.#words, INTERRUPTS, 1) & (INTERRUPT_SLOTS - 1)
    const slot = FIRST_SLOT + SLOT_WORDS * turn
    Atomics.store(this.#words, slot + 2, 0)
    Atomics.store(this.#words, slot, (unique % TWO_TO_32) | 0)
    Atomics.store(this.#words, slot + 1, Math.floor(unique / TWO_TO_32) | 0)
    Atomics.store(this.#words, slot + 2, (number + 1) | 0)
  }

  /** Whether that session's request has been interrupted; true once. */
  takeInterrupt(unique: number, number: number): boolean {
    const low = (unique % TWO_TO_32) | 0
    const high = Math.floor(unique / TWO_TO_32) | 0
    const tag = (number + 1) | 0
    for (let slot = FIRST_SLOT; slot < WORDS; slot += SLOT_WORDS) {
      if (Atomics.load(this.#words, slot) !== low || Atomics.load(this.#words, slot + 1) !== high) continue
      if (Atomics.load(this.#words, slot + 2) !== tag) continue
      Atomics.store(this.#words, slot + 2, 0)
      return true
    }
    return false
  }

  /** Whether this is the first shortage of descriptors or inodes in the session. */
  takeShortage(): boolean {
    return Atomics.exchange(this.#words, SHORTAGE, 1) === 0
  }

  /**
   * A ring goes on where another daemon has left it. Unless there is a session, its guest has one that this daemon knows
   * nothing of, until INIT.
   */
  noteForeign(): void {
    if (!this.initialized) Atomics.store(this.#words, FOREIGN, 1)
  }

  get foreign(): boolean {
    return Atomics.load(this.#words, FOREIGN) !== 0
  }

  /** Whether this is the first request of such a guest. */
  takeForeign(): boolean {
    return Atomics.compareExchange(this.#words, FOREIGN, 1, 2) === 1
  }

  /**
   * Ends the session.
   * @returns what `start` wants
   */
  clear(): number {
    let old: number
    let ended: number
    do {
      old = Atomics.load(this.#words, STATE)
      ended = ((old | 1) + 1) & 0x3fff_ffff
    } while (Atomics.compareExchange(this.#words, STATE, old, ended) !== old)
    this.#words[WINDOW] = 0
    this.#words[EVERY_FILE] = 0
    this.#words[SHORTAGE] = 0
    Atomics.store(this.#words, FOREIGN, 0)
    return ended
  }
}
