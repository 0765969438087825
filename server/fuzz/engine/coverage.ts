// SPDX-License-Identifier: Apache-2.0
/**
 * Which blocks of the code under test have run, by V8's precise block coverage. A script's source is kept as an array of
 * its characters: 1 for those that have run, each counted for the innermost function that holds it. How often tells
 * nothing here, because several programs are counted together.
 */
import { type Profiler, Session } from 'node:inspector'

interface Span {
  readonly start: number
  readonly end: number
}

/** What has been seen of one script. */
interface Seen {
  /** Functions that have run. */
  readonly functions: readonly Span[]
  readonly characters: Uint8Array
}

export class Coverage {
  readonly #session = new Session()
  readonly #wanted: (url: string) => boolean
  #seen = new Map<string, Seen>()

  /** @param wanted tells the scripts under test by their URL */
  constructor(wanted: (url: string) => boolean) {
    this.#wanted = wanted
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** @returns whether something has run since the last call that had not before */
  isNew(): boolean {
    let isNew = false
    for (const { url, functions } of this.#take()) {
      if (!this.#wanted(url)) continue
      for (const { ranges } of functions) if (this.#add(url, ranges)) isNew = true
    }
    return isNew
  }

  /** What has been seen, for `restore`. */
  snapshot(): ReadonlyMap<string, Seen> {
    return new Map([...this.#seen].map(([url, seen]) => [url, { ...seen, characters: seen.characters.slice() }]))
  }

  restore(snapshot: ReadonlyMap<string, Seen>): void {
    this.#seen = new Map(snapshot)
  }

  /** Characters of code that have run. */
  get size(): number {
    let size = 0
    for (const { characters } of this.#seen.values()) size += characters.reduce((sum, ran) => sum + ran, 0)
    return size
  }

  #take(): Profiler.ScriptCoverage[] {
    let scripts: Profiler.ScriptCoverage[] = []
    // The inspector of one's own thread answers at once.
    this.#session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error !== null) throw error
      scripts = taken.result
    })
    return scripts
  }

  /** @param ranges one function's: the whole, then blocks of it, inner ones after outer ones */
  #add(url: string, ranges: readonly Profiler.CoverageRange[]): boolean {
    const [whole] = ranges
    if (whole === undefined || whole.count === 0) return false
    const span = { start: whole.startOffset, end: whole.endOffset }
    const known = this.#seen.get(url) ?? { functions: [], characters: new Uint8Array(0) }
    const first = !known.functions.some(({ start, end }) => start === span.start && end === span.end)
    const functions = first ? [...known.functions, span] : known.functions
    let { characters } = known
    if (characters.length < span.end) {
      characters = new Uint8Array(2 * span.end)
      characters.set(known.characters)
    }
    this.#seen.set(url, { functions, characters })

    const ran = new Uint8Array(span.end - span.start)
    for (const { startOffset, endOffset, count } of ranges) {
      ran.fill(count > 0 ? 1 : 0, startOffset - span.start, endOffset - span.start)
    }
    // What is in a function within this one is that one's own.
    const UNCOUNTED = 2
    for (const { start, end } of functions) {
      const within = start >= span.start && end <= span.end && end - start < span.end - span.start
      if (within) ran.fill(UNCOUNTED, start - span.start, end - span.start)
    }
    let isNew = first
    for (let i = 0; i < ran.length; i++) {
      const at = span.start + i
      if (ran[i] === UNCOUNTED) continue
      // Before its first run it was taken for a part of the function around it.
      if (first) characters[at] = 0
      if (ran[i] === 0 || characters[at] === 1) continue
      characters[at] = 1
      isNew = true
    }
    return isNew
  }
}
