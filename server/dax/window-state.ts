// SPDX-License-Identifier: Apache-2.0
/** What all threads know of the window; behind it is one SharedArrayBuffer. */

const ACTIVE = 0
const WORDS = 1

export class WindowState {
  readonly #words: Int32Array

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)
  }

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer)
  }

  /** Whether the connected frontend can show the window. */
  get active(): boolean {
    return Atomics.load(this.#words, ACTIVE) === 1
  }

  set active(active: boolean) {
    Atomics.store(this.#words, ACTIVE, active ? 1 : 0)
  }
}
