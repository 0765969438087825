// SPDX-License-Identifier: Apache-2.0
/** `viewfsd check`: whether this host can do a window. */
import { gatherFacts } from './host-facts.ts'
import { type Finding, judge } from './judge.ts'

const MARKS = { yes: 'yes ', less: 'less', no: 'no  ' } as const

/** For people: a line for each finding, and its fix below. */
export function reportText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length))
  const lines = findings.flatMap(({ name, verdict, found, fix }) => [
    `${MARKS[verdict]}  ${name.padEnd(width)}  ${found}`,
    ...(fix === undefined ? [] : [`${' '.repeat(width + 8)}-> ${fix}`]),
  ])
  const verdict = windowPossible(findings)
    ? 'This host can do a window.'
    : 'This host can not do a window as it is: see each no.'
  return `${[...lines, verdict].join('\n')}\n`
}

export function windowPossible(findings: readonly Finding[]): boolean {
  return findings.every(({ verdict }) => verdict !== 'no')
}

/** @returns the exit status: 0 where a window is possible, else 1 */
export function runCheck(json: boolean): number {
  const findings = judge(gatherFacts())
  const window = windowPossible(findings)
  process.stdout.write(json ? `${JSON.stringify({ window, findings }, null, 2)}\n` : reportText(findings))
  return window ? 0 : 1
}
