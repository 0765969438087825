// SPDX-License-Identifier: Apache-2.0
/** The options of viewfsd(1) in mdoc(7), made from the option table. doc/viewfsd.1 holds them between two marks. */
import { OPTION_TABLE, type OptionRow } from './table.ts'
import { summaryOf } from './help.ts'

export const MANUAL_BEGIN = '.\\" OPTIONS BEGIN: made by npm run manual, not by hand\n'
export const MANUAL_END = '.\\" OPTIONS END\n'

/** Text that mdoc takes for nothing but text. */
function escape(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&')
}

/** Sentences begin new lines, as mdoc wants it. */
function paragraph(text: string): string {
  return `${escape(text).replace(/([.:]) (?=[A-Z])/g, '$1\n')}\n`
}

/** An argument of a macro; punctuation in it must not be taken for mdoc's. */
function argument(text: string): string {
  return escape(text).replaceAll('|', '\\&|')
}

/** What stands behind a long option. */
function assigned({ value, bare }: OptionRow): string {
  if (value === undefined) return ''
  const assignment = `= Ns Ar ${argument(value)}`
  return bare === undefined ? ` Ns ${assignment}` : ` Ns Oo Ns ${assignment} Oc`
}

function item(row: OptionRow): string {
  const { name, letter, value } = row
  const flags =
    name === letter
      ? `Fl ${name}${value === undefined ? '' : ` Ar ${argument(value)}`}`
      : `${letter === undefined ? '' : `Fl ${letter} , `}Fl Fl ${argument(name)}${assigned(row)}`
  const details = (row.detail ?? []).map((text) => `.Pp\n${paragraph(text)}`)
  return `.It ${flags}\n${paragraph(sentence(summaryOf(row)))}${details.join('')}`
}

/** With a capital and a full stop, which go before marks such as [deprecated]. */
function sentence(summary: string): string {
  const stopped = summary.replace(/( \[.*)?$/, '.$1')
  return stopped.charAt(0).toUpperCase() + stopped.slice(1)
}

function list(rows: readonly OptionRow[]): string {
  return `.Bl -tag -width Ds\n${rows.map(item).join('')}.El\n`
}

/** The sections between the marks. */
export function manualOptions(): string {
  return [
    '.Ss Options of virtiofsd\n',
    list(OPTION_TABLE.filter((row) => row.ours !== true)),
    '.Ss Options of viewfsd alone\n',
    list(OPTION_TABLE.filter((row) => row.ours === true)),
  ].join('')
}

/** @throws Error where the marks are missing */
export function withOptions(page: string): string {
  const begin = page.indexOf(MANUAL_BEGIN)
  const end = page.indexOf(MANUAL_END)
  if (begin < 0 || end < begin) throw new Error('the page lacks the marks of the options')
  return page.slice(0, begin + MANUAL_BEGIN.length) + manualOptions() + page.slice(end)
}
