// SPDX-License-Identifier: Apache-2.0
/**
 * `node dist/server/fuzz/main.js [SECONDS] [--keep] [--only=TARGET]`: runs every fuzzer for its share of the time, one after the
 * other, each in a process of its own, from copies of the corpora in server/fuzz/corpus/. `--keep` writes what they have added
 * back there. VIEWFSD_FUZZ_SEED repeats a run. Exit status 1: something was found; the program and what it takes to
 * repeat it are printed.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { readCorpus, writeCorpus } from './engine/corpus.ts'
import { asanEnvironment } from './engine/sanitizer.ts'
import { TARGET_NAMES } from './targets/index.ts'

const ROOT = path.join(import.meta.dirname, '../../..')
const CORPUS = path.join(ROOT, 'server/fuzz/corpus')
const WORK = path.join(process.env['VIEWFSD_CACHE'] ?? path.join(ROOT, '.cache'), 'fuzz')
/** libFuzzer's programs (native/fuzz/), by the name of their target. */
const NATIVE: Readonly<Record<string, string>> = {
  ring: 'ring_fuzz',
  'data-plane': 'data_plane_fuzz',
  supervisor: 'supervisor_fuzz',
}
/** No program takes a hundredth of that. */
const HANG_MS = 60_000
/** Parts of the time. */
const SHARES: Readonly<Record<string, number>> = {
  ring: 4,
  'data-plane': 5,
  supervisor: 1,
  fuse: 2,
  'vhost-user': 2,
  passthrough: 3,
  state: 1,
  control: 1,
  daemon: 4,
}

interface Outcome {
  readonly ok: boolean
  readonly output: string
  readonly hung: boolean
}

/** Runs a fuzzer; `progress` is a file that changes as long as it gets on. */
async function runFuzzer(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  progress: string,
): Promise<Outcome> {
  const logPath = path.join(WORK, 'log')
  const log = openSync(logPath, 'w')
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', log, log] })
  closeSync(log)
  let hung = false
  const watch = setInterval(() => {
    if (Date.now() - statSync(progress).mtimeMs < HANG_MS) return
    hung = true
    child.kill('SIGKILL')
  }, 1000)
  const code = await new Promise<number | null>((resolve) => child.once('exit', (status) => resolve(status)))
  clearInterval(watch)
  return { ok: code === 0 && !hung, output: readFileSync(logPath, 'utf8'), hung }
}

function report(name: string, outcome: Outcome, program: string): void {
  process.stdout.write(`${outcome.output.slice(-6000)}\n`)
  process.stdout.write(`FOUND by ${name}: ${outcome.hung ? 'a hang' : 'a failure'}; the program:\n${program}\n`)
  const repeat =
    NATIVE[name] !== undefined
      ? `native/build/fuzz/${NATIVE[name]} ${foundBy(name)}`
      : `node --conditions=testing dist/server/fuzz/replay.js ${name} PROGRAM`
  process.stdout.write(`to repeat it: ${repeat}\n`)
}

/** Where a native fuzzer puts what it finds. */
function foundBy(name: string): string {
  return path.join(WORK, `${name}-found`)
}

/** A native fuzzer, with libFuzzer's own loop. */
async function runNative(
  name: string,
  executable: string,
  seconds: number,
  seed: number,
  keep: boolean,
): Promise<boolean> {
  const corpus = path.join(CORPUS, `${name}.txt`)
  const [old, grown, merged] = [`${name}-old`, name, `${name}-merged`].map((directory) => path.join(WORK, directory))
  if (old === undefined || grown === undefined || merged === undefined) throw new Error('no directories')
  for (const directory of [old, grown, merged]) {
    rmSync(directory, { recursive: true, force: true })
    mkdirSync(directory, { recursive: true })
  }
  const entries = readCorpus(corpus)
  for (const { program } of entries) writeProgram(old, program)
  const program = path.join(ROOT, 'native/build/fuzz', executable)
  const findings = foundBy(name)
  rmSync(findings, { force: true })
  const limits = [
    '-timeout=20',
    '-rss_limit_mb=4096',
    '-max_len=2048',
    '-len_control=20',
    `-exact_artifact_path=${findings}`,
  ]
  const args = [`-max_total_time=${seconds}`, `-seed=${seed}`, '-print_final_stats=1', ...limits, grown, old]
  const outcome = await runFuzzer(program, args, {}, path.join(WORK, 'log'))
  if (!outcome.ok) {
    report(name, outcome, readFileSync(findings).toString('base64'))
    return false
  }
  const runs = /number_of_executed_units: (\d+)/.exec(outcome.output)?.[1] ?? '?'
  const last = /.*cov: (\d+) ft: (\d+)/s.exec(outcome.output)
  process.stdout.write(
    `${name}: ${runs} runs in ${seconds} s, corpus ${entries.length} -> +${readdirSync(grown).length}, ` +
      `${last?.[1] ?? '?'} edges, ${last?.[2] ?? '?'} features\n`,
  )
  if (!keep) return true
  const merge = await runFuzzer(program, ['-merge=1', '-max_len=2048', merged, old, grown], {}, path.join(WORK, 'log'))
  if (!merge.ok) throw new Error(`merging failed\n${merge.output.slice(-2000)}`)
  const found = entries.filter((entry) => entry.found !== undefined)
  const kept = readdirSync(merged).map((file) => new Uint8Array(readFileSync(path.join(merged, file))))
  kept.sort((a, b) => a.length - b.length)
  writeCorpus(corpus, [...found, ...kept.map((bytes) => ({ program: bytes, found: undefined }))])
  return true
}

function writeProgram(directory: string, program: Uint8Array): void {
  writeFileSync(path.join(directory, createHash('sha1').update(program).digest('hex')), program)
}

async function runTarget(name: string, seconds: number, seed: number, keep: boolean): Promise<boolean> {
  const committed = path.join(CORPUS, `${name}.txt`)
  const corpus = path.join(WORK, `${name}.txt`)
  writeCorpus(corpus, readCorpus(committed))
  const current = path.join(WORK, `${name}-current`)
  writeFileSync(current, '')
  const script = path.join(import.meta.dirname, 'fuzz-target.js')
  const args = ['--enable-source-maps', script, name, corpus, String(seconds), String(seed), current]
  const outcome = await runFuzzer(process.execPath, args, asanEnvironment(), current)
  if (!outcome.ok) {
    report(name, outcome, readFileSync(current, 'utf8').split('\n')[0] ?? '')
    return false
  }
  process.stdout.write(outcome.output)
  if (keep) writeCorpus(committed, readCorpus(corpus))
  return true
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { keep: { type: 'boolean', default: false }, only: { type: 'string' } },
  })
  const seconds = Number(positionals[0] ?? 3600)
  if (!(seconds > 0)) throw new Error(`not a number of seconds: ${positionals[0]}`)
  const names = [...Object.keys(NATIVE), ...TARGET_NAMES].filter(
    (name) => values.only === undefined || values.only === name,
  )
  const total = names.reduce((sum, name) => sum + (SHARES[name] ?? 1), 0)
  const seed = Number(process.env['VIEWFSD_FUZZ_SEED'] ?? Date.now() % 2 ** 31)
  mkdirSync(WORK, { recursive: true })
  process.stdout.write(`seed ${seed}\n`)
  let ok = true
  for (const name of names) {
    const share = Math.max(1, Math.round((seconds * (SHARES[name] ?? 1)) / total))
    const executable = NATIVE[name]
    const run =
      executable === undefined
        ? runTarget(name, share, seed, values.keep)
        : runNative(name, executable, share, seed, values.keep)
    ok = (await run) && ok
  }
  return ok ? 0 : 1
}

process.exitCode = await main()
