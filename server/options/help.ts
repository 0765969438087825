// SPDX-License-Identifier: Apache-2.0
/** -h and --help, made from the option table. */
import { OPTION_TABLE, type OptionRow } from './table.ts'

const USAGE = 'Usage: viewfsd --shared-dir=DIR --socket-path=PATH [OPTION]...'
const WIDTH = 100

/** How an option is written, with its letter and value. */
export function synopsis(row: OptionRow): string {
  const { name, letter, value } = row
  if (name === letter) return value === undefined ? `-${name}` : `-${name} ${value}`
  const assigned = value === undefined ? '' : row.bare === undefined ? `=${value}` : `[=${value}]`
  return `${letter === undefined ? '    ' : `-${letter}, `}--${name}${assigned}`
}

/** Words filled into lines, each after `indent` spaces. */
function fill(text: string, indent: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.map((filled) => `${' '.repeat(indent)}${filled}\n`).join('')
}

/** The first sentence of an option with what a reader must know at once. */
export function summaryOf(row: OptionRow): string {
  const marks = [
    ...(row.default === undefined ? [] : [`[default: ${row.default}]`]),
    ...(row.deprecated === true ? ['[deprecated]'] : []),
  ]
  return [row.summary, ...marks].join(' ')
}

/** @param detailed --help, not -h */
export function helpText(detailed: boolean): string {
  const section = (title: string, rows: readonly OptionRow[]): string =>
    `${title}:\n${rows.map((row) => describe(row, detailed)).join('')}`
  return [
    'Shares a directory with a virtual machine: a vhost-user back-end for virtio-fs.\n',
    `${USAGE}\n`,
    section(
      "virtiofsd's options",
      OPTION_TABLE.filter((row) => row.ours !== true),
    ),
    section(
      "viewfsd's own options",
      OPTION_TABLE.filter((row) => row.ours === true),
    ),
  ].join('\n')
}

function describe(row: OptionRow, detailed: boolean): string {
  const details = detailed ? (row.detail ?? []).map((paragraph) => fill(paragraph, 10)) : []
  return [`  ${synopsis(row)}\n`, fill(summaryOf(row), 10), ...details].join('')
}
