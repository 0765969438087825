// SPDX-License-Identifier: Apache-2.0
/**
 * Who says that a power cut has taken nothing: programs that put one step after the other into the share, each of which is
 * durable when the program says so. In the guest they act below /mnt; on the host their files lie in the folder that is given.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Witness {
  readonly name: string
  /** A shell script for the host, before everything; `dir` is the share. */
  readonly prepare?: (dir: string) => string
  /** A shell script for the guest, once it has booted. */
  readonly begin?: string
  /** A shell script for the guest that returns when the step is on the disk, and fails where it can't be. */
  readonly act: (step: number) => string
  /**
   * What is wrong with the files in `dir`, which have to hold all steps from 0 to `last`; undefined where nothing is. They may
   * be changed, as recovery does.
   */
  readonly check: (dir: string, last: number) => string | undefined
}

/** As programs/ledger.c has them. */
const RECORD = 700
const ALIGNED = 4096
const LEDGER_WAYS = ['fsync', 'fdatasync', 'o-sync', 'o-dsync', 'o-direct', 'msync', 'munmap-fsync'] as const

function record(step: number, size: number): Buffer {
  return Buffer.alloc(size, `record ${step} `)
}

function contents(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch {
    return Buffer.alloc(0)
  }
}

function ledger(way: (typeof LEDGER_WAYS)[number]): Witness {
  const size = way === 'o-direct' ? ALIGNED : RECORD
  return {
    name: way,
    act: (step) => `/root/ledger ${way} /mnt/${way} ${step}`,
    check: (dir, last) => {
      const bytes = contents(join(dir, way))
      for (let step = 0; step <= last; step++)
        if (!bytes.subarray(step * size, (step + 1) * size).equals(record(step, size)))
          return `record ${step} is not there`
      return undefined
    },
  }
}

/** One file that a new one takes the place of: an older one than the last is lost data, a part of one is worse. */
const RENAME: Witness = {
  name: 'rename',
  act: (step) => `/root/ledger rename /mnt/renamed ${step}`,
  check: (dir, last) => {
    const bytes = contents(join(dir, 'renamed'))
    const step = Number(/^record (\d+) /.exec(bytes.toString('latin1'))?.[1] ?? -1)
    if (step >= 0 && !bytes.equals(record(step, RECORD))) return 'the file is neither the old one nor the new one'
    return step < last ? `the file is that of step ${step}` : undefined
  },
}

/** Runs a program; its standard output, or what went wrong. */
function run(command: string, args: readonly string[], input = ''): { output: string; error: string | undefined } {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', input })
  if (error !== undefined) throw error
  return {
    output: stdout,
    error: status === 0 ? undefined : `${command}: status ${status}: ${stdout}${stderr}`.slice(-2000),
  }
}

/** Steps 0 to some number that is at least `last`, none missing. */
function complete(count: number, highest: number, last: number): string | undefined {
  if (count !== highest + 1) return `${count} rows, the highest is ${highest}`
  return highest < last ? `the last row is ${highest}` : undefined
}

/** FULL alone does not sync the directory where the end of a transaction is the end of its rollback journal. */
function sqlite(mode: 'wal' | 'delete', synchronous: 'full' | 'extra'): Witness {
  const name = `sqlite-${mode}`
  return {
    name,
    prepare: (dir) =>
      `sqlite3 ${dir}/${name} 'pragma journal_mode=${mode}; create table t (n integer primary key, b text);'`,
    act: (step) =>
      `sqlite3 /mnt/${name} "pragma synchronous=${synchronous}; insert into t values (${step}, hex(randomblob(300)));"`,
    check: (dir, last) => {
      const query = 'pragma integrity_check; select count(*), coalesce(max(n), -1) from t;'
      const { output, error } = run('sqlite3', [join(dir, name), query])
      if (error !== undefined) return error
      const [integrity = '', counts = ''] = output.split('\n')
      if (integrity !== 'ok') return output
      const [count = '', highest = ''] = counts.split('|')
      return complete(Number(count), Number(highest), last)
    },
  }
}

const LMDB: Witness = {
  name: 'lmdb',
  prepare: (dir) => `mkdir ${dir}/lmdb`,
  act: (step) => `/root/lmdb-witness put /mnt/lmdb ${step}`,
  check: (dir, last) =>
    last < 0 ? undefined : run('/root/lmdb-witness', ['check', join(dir, 'lmdb'), `${last}`]).error,
}

/** PostgreSQL does not run as root. */
const AS_NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups']
const POSTGRES = '/usr/lib/postgresql/17/bin'
const SETTINGS =
  'shared_buffers=4MB max_connections=5 autovacuum=off jit=off dynamic_shared_memory_type=mmap max_worker_processes=0'
const FLAGS = SETTINGS.split(' ').flatMap((setting) => ['-c', setting])

const POSTGRESQL: Witness = {
  name: 'postgresql',
  prepare: (dir) => `mkdir ${dir}/postgresql; chown 65534:65534 ${dir}/postgresql
    setpriv ${AS_NOBODY.join(' ')} ${POSTGRES}/initdb -D ${dir}/postgresql --wal-segsize=1 --locale=C -E UTF8 --no-sync >/dev/null
    echo 'create table t (n integer primary key);' |
      setpriv ${AS_NOBODY.join(' ')} ${POSTGRES}/postgres --single ${FLAGS.join(' ')} -D ${dir}/postgresql postgres >/dev/null`,
  begin: `mkdir -p /run/postgresql; chown 65534:65534 /run/postgresql
    setpriv ${AS_NOBODY.join(' ')} ${POSTGRES}/postgres -D /mnt/postgresql ${FLAGS.join(' ')} -c listen_addresses= </dev/null >/run/postgresql/log 2>&1 &
    until ${POSTGRES}/psql -h /run/postgresql -U nobody postgres -c 'select 1' >/dev/null 2>&1; do
      kill -0 $! || { cat /run/postgresql/log; exit 1; }
      sleep 0.2
    done`,
  act: (step) =>
    `${POSTGRES}/psql -q -v ON_ERROR_STOP=1 -h /run/postgresql -U nobody postgres -c 'insert into t values (${step})'`,
  check: (dir, last) => {
    const args = [
      ...AS_NOBODY,
      join(POSTGRES, 'postgres'),
      '--single',
      ...FLAGS,
      '-D',
      join(dir, 'postgresql'),
      'postgres',
    ]
    const { output, error } = run('setpriv', args, 'select count(*), coalesce(max(n), -1) from t;\n')
    const [, count, highest] = /count = "(\d+)"[^]*coalesce = "(-?\d+)"/.exec(output) ?? []
    if (error !== undefined || count === undefined) return error ?? output
    return complete(Number(count), Number(highest), last)
  },
}

export const WITNESSES: readonly Witness[] = [
  ...LEDGER_WAYS.map(ledger),
  RENAME,
  sqlite('wal', 'full'),
  sqlite('delete', 'extra'),
  LMDB,
  POSTGRESQL,
]
