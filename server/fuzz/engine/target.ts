// SPDX-License-Identifier: Apache-2.0
/** What a fuzzer runs programs against. */
export interface Target {
  /** Also its corpus's name. */
  readonly name: string
  /** Whether a script, by its URL, is code under test. */
  covers(url: string): boolean
  /**
   * Runs one program from a fresh start.
   * @returns numbers that tell what happened; one that was never seen before makes a program worth keeping
   * @throws whatever must never happen
   */
  run(program: Uint8Array): Promise<Iterable<number>>
  close(): Promise<void>
}
