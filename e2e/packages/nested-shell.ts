// SPDX-License-Identifier: Apache-2.0
/** What the parts of the nested session are made of: scripts on the nested host, and what they have to say. */
import { execFileSync } from 'node:child_process'
import { step } from '../rig/progress.ts'

/** Runs a shell script that must succeed; gives what it prints, without blanks around it. */
export function sh(script: string): string {
  return execFileSync('/bin/sh', ['-ec', script], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
}

/** The same, as a step that may take long. */
export function run(what: string, script: string): Promise<string> {
  return step(what, async () => sh(script))
}

export function expectMatch(what: string, text: string, pattern: RegExp): void {
  if (!pattern.test(text)) throw new Error(`${what}: ${text} is not ${pattern}`)
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 200))
}
