// SPDX-License-Identifier: Apache-2.0
/**
 * Splits a command line into options, as virtiofsd does: from left to right, so that the first mistake or the first of
 * -h and -V decides; of an option that is given more than once the last counts.
 */
import { OPTION_TABLE, type OptionRow } from './table.ts'
import { printable, UsageError } from './usage-error.ts'

export class Arguments {
  /** Name to values, in order; switches have ''. */
  readonly #given = new Map<string, string[]>()
  /** Options in the order of their last occurrence. */
  readonly order: string[] = []

  add(row: OptionRow, value: string): void {
    const values = row.repeats === true ? (this.#given.get(row.name) ?? []) : []
    values.push(value)
    this.#given.set(row.name, values)
    const before = this.order.indexOf(row.name)
    if (before >= 0) this.order.splice(before, 1)
    this.order.push(row.name)
  }

  has(name: string): boolean {
    return this.#given.has(name)
  }

  /** The value of an option that was given. */
  value(name: string): string | undefined {
    return this.#given.get(name)?.at(-1)
  }

  values(name: string): readonly string[] {
    return this.#given.get(name) ?? []
  }
}

/** How messages name an option. */
export function dashed(row: OptionRow): string {
  return row.name === row.letter ? `-${row.letter}` : `--${row.name}`
}

const BY_NAME = new Map(OPTION_TABLE.filter((row) => row.name !== row.letter).map((row) => [row.name, row]))
const BY_LETTER = new Map(OPTION_TABLE.flatMap((row) => (row.letter === undefined ? [] : [[row.letter, row] as const])))

/** Why the command line ends early. */
export type EarlyAction = 'help' | 'short-help' | 'version'

/**
 * @returns what was given, or what -h, --help or -V asks for
 * @throws UsageError
 */
export function splitArguments(args: readonly string[]): Arguments | EarlyAction {
  const result = new Arguments()
  let position = 0
  const nextValue = (row: OptionRow): string => {
    const value = args[position]
    if (value === undefined || (value.startsWith('-') && value !== '-')) {
      throw new UsageError(`${dashed(row)} needs a value: ${dashed(row)}=${row.value ?? ''}`)
    }
    position++
    return value
  }
  const take = (row: OptionRow, value: string): void => {
    try {
      row.check?.(value)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new UsageError(`invalid value "${printable(value)}" for ${dashed(row)}: ${reason}`)
    }
    result.add(row, value)
  }

  while (position < args.length) {
    const argument = args[position++] ?? ''
    if (argument === '--') {
      if (position < args.length) refuseStray(args[position] ?? '')
    } else if (argument.startsWith('--')) {
      const equals = argument.indexOf('=')
      const name = argument.slice(2, equals < 0 ? undefined : equals)
      const row = BY_NAME.get(name)
      if (row === undefined) throw new UsageError(`unknown option "${printable(`--${name}`)}"${suggestion(name)}`)
      if (row.bare !== undefined && equals < 0) take(row, row.bare)
      else if (row.value === undefined) {
        if (equals >= 0) throw new UsageError(`${printable(argument)}: ${dashed(row)} takes no value`)
        if (row.name === 'help' || row.name === 'version') return row.name
        take(row, '')
      } else if (equals >= 0) take(row, argument.slice(equals + 1))
      else if (row.needsEquals === true)
        throw new UsageError(`${dashed(row)} needs its value after an equals sign: ${dashed(row)}=${row.value}`)
      else take(row, nextValue(row))
    } else if (argument.startsWith('-') && argument !== '-') {
      for (let index = 1; index < argument.length; index++) {
        const letter = argument.charAt(index)
        const row = BY_LETTER.get(letter)
        if (row === undefined) throw new UsageError(`unknown option "-${printable(letter)}"; --help lists all`)
        if (row.name === 'help') return 'short-help'
        if (row.name === 'version') return 'version'
        if (row.value === undefined) {
          take(row, '')
          continue
        }
        const rest = argument.slice(index + 1)
        take(row, rest === '' ? nextValue(row) : rest.replace(/^=/, ''))
        break
      }
    } else refuseStray(argument)
  }
  return result
}

function refuseStray(argument: string): never {
  throw new UsageError(`unexpected argument "${printable(argument)}": all but check are options, which begin with --`)
}

function suggestion(name: string): string {
  const similar = name.length < 3 ? undefined : [...BY_NAME.keys()].find((known) => known.startsWith(name))
  return similar === undefined ? '; --help lists all' : `; did you mean --${similar}?`
}
