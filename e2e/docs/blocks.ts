// SPDX-License-Identifier: Apache-2.0
/**
 * The command blocks of the documents. Before each there is a comment that a reader of the rendering does not see: which test
 * executes it, or why none does.
 *
 *   <!-- executed: NAME by server/integration/documents.test.ts -->
 *   <!-- not executed: it needs a machine with libvirt's AppArmor profile -->
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../rig/paths.ts'

export interface Block {
  readonly document: string
  /** Of the fence, counted from 1. */
  readonly line: number
  /** The info string: `sh` for commands. */
  readonly language: string
  readonly text: string
  /** The comment on the line before. */
  readonly comment: string
}

/** All fenced blocks of a document, whose path is from the top of the checkout. */
export function blocksOf(document: string): Block[] {
  const lines = readFileSync(join(checkout, document), 'utf8').split('\n')
  const blocks: Block[] = []
  for (let index = 0; index < lines.length; index++) {
    const [, language] = /^```(.*)$/.exec(lines[index] ?? '') ?? []
    if (language === undefined) continue
    const begin = index + 1
    do index++
    while (index < lines.length && lines[index] !== '```')
    const comment = /^<!-- (.*) -->$/.exec(lines[begin - 2] ?? '')?.[1] ?? ''
    blocks.push({ document, line: begin, language, text: lines.slice(begin, index).join('\n'), comment })
  }
  return blocks
}

/**
 * The commands of the block that its comment names: continued lines joined, remarks left out.
 * @throws Error where there is no such block
 */
export function commandBlock(document: string, name: string): string[] {
  const block = blocksOf(document).find(({ comment }) => comment.startsWith(`executed: ${name} by `))
  if (block === undefined) throw new Error(`${document} has no block named ${name}`)
  return block.text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.replace(/ {2,}#.*$/, '').trimEnd())
    .filter((line) => line !== '' && !line.startsWith('#'))
}
