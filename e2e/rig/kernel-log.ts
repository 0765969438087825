// SPDX-License-Identifier: Apache-2.0
/** Reads a kernel log for what must never be in it. */

const BAD =
  /\bBUG\b|\bWARNING: |Bad page|Oops|general protection fault|Kernel panic|refcount_t:|KASAN|UBSAN|possible circular locking|possible recursive locking|INFO: task .* blocked for more than|INFO: rcu\S* (?:self-)?detected stall|list_(?:add|del) corruption|memory_view: .*leak/

/** Lines of a guest's log that match the pattern above and are known to be harmless, each with its reason. */
export const HARMLESS_IN_GUEST: readonly RegExp[] = [
  // copy_file_range(2) into a DAX file: __fuse_copy_file_range() of Linux 7.3 drops the pages without breaking the layouts
  // first, and the core tidies up after it.
  /WARNING: mm\/truncate\.c:\d+ at truncate_folio_batch_exceptionals\b/,
]

/** The lines of `log` that tell of a kernel bug, less those that match `harmless`. */
export function kernelComplaints(log: string, harmless: readonly RegExp[] = []): string[] {
  return log
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => BAD.test(line) && !harmless.some((pattern) => pattern.test(line)))
}

/** What a log says around its first complaint or, where it has none, at its end: lines, oldest first. */
export function logExcerpt(log: string, before = 5, after = 45): string[] {
  const lines = log.split('\n').map((line) => line.trimEnd())
  while (lines.at(-1) === '') lines.pop()
  const first = lines.findIndex((line) => BAD.test(line))
  return first === -1 ? lines.slice(-before - after) : lines.slice(Math.max(0, first - before), first + after)
}
