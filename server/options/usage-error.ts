// SPDX-License-Identifier: Apache-2.0
/** What is wrong with a command line. */

/** Exit status for a command line that can't be parsed, as virtiofsd has it. */
export const EXIT_USAGE = 2
/** Exit status where the command line is well formed, but what it asks for can't be had. */
export const EXIT_FAILURE = 1

/** A command line that can't be used; the message is one line and names the option. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly exitCode: number

  constructor(message: string, exitCode: number = EXIT_USAGE) {
    super(message)
    this.exitCode = exitCode
  }
}

/** A message stays one line, whatever was typed. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- those are meant
  return text.replace(/[\u0000-\u001f\u007f]/g, '?')
}
