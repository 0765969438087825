// SPDX-License-Identifier: Apache-2.0
/** How to run Node on the tests' addon that was built with AddressSanitizer and UBSan (native/Makefile, "asan"). */
import { execFileSync } from 'node:child_process'

/** Variables of the environment. Leak checking stays off: Node itself leaves memory behind at exit. */
export function asanEnvironment(): Record<string, string> {
  const compiler = process.env['CXX'] ?? 'g++'
  const runtime = execFileSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
  if (!runtime.includes('/')) throw new Error(`no libasan.so for ${compiler}`)
  return {
    LD_PRELOAD: runtime,
    NODE_OPTIONS: '--conditions=asan --conditions=testing',
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=99',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  }
}
