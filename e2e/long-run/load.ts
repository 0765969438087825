// SPDX-License-Identifier: Apache-2.0
/** What two guests do at the same time in one shared directory: each in a folder of its own, and together in some. */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { check, equal } from '../tests/harness.ts'
import type { TestGuest } from '../tests/test-guest.ts'

/** For a round of a program to end, on a machine with much else to do. */
const PATIENCE_MS = 1_800_000
const TURNS_BYTES = 4 << 20
/** In a folder whose files change their names and modes all the time, under the eyes of the other guest. */
const NAMES = 60

/** Makes what the guests begin with. */
export function prepareShare(dir: string): void {
  closeSync(openSync(join(dir, 'turns'), 'w'))
  const turns = openSync(join(dir, 'turns'), 'r+')
  ftruncateSync(turns, TURNS_BYTES)
  closeSync(turns)
  for (const who of [0, 1]) {
    for (const folder of ['', 'names', 'mix']) mkdirSync(join(dir, `own-${who}`, folder), { recursive: true })
    for (let number = 0; number < NAMES; number++) writeFileSync(join(dir, `own-${who}/names/n${number}`), `${number}`)
  }
}

/** Short rounds of a program, one at least, until /run/stop is there. */
function rounds(body: string): string {
  return ['while :; do', body, 'echo >>/run/$name.rounds', 'test ! -e /run/stop || break', 'done'].join('\n')
}

/** Shell scripts; each goes on until /run/stop is there, and fails at the first thing that is wrong. */
function programs(who: number): Record<string, string> {
  const own = `/mnt/own-${who}`
  const names = `/mnt/own-${1 - who}/names`
  return {
    turns: `/root/turns /mnt/turns ${who} /run/stop >/run/turns.rounds || { cat /run/turns.rounds; exit 1; }`,
    verify: rounds(
      `fio --name=verify --filename=${own}/verified --rw=randwrite --bs=16k --size=1M --ioengine=psync --verify=crc32c --verify_fatal=1 --do_verify=1`,
    ),
    // Names, links, truncation, appends; it removes what it has made.
    mix: rounds(`/root/fs-mix -p 2 -n 15 ${own}/mix`),
    // Truncation, appends and mappings, against a model.
    model: rounds(`mkdir ${own}/model; /root/file-model -n 15 -l 262144 ${own}/model; rm -r ${own}/model`),
    sqlite: `n=$(sqlite3 ${own}/sqlite 'pragma journal_mode=wal; create table if not exists t (n integer primary key, b text); select ifnull(max(n) + 1, 0) from t;' | tail -n 1)
${rounds(`sqlite3 -bail ${own}/sqlite "begin; insert into t values ($n, hex(randomblob(300))); delete from t where n < $n - 50; commit;"
n=$((n + 1)); echo $n >/run/sqlite.committed`)}
test "$(sqlite3 ${own}/sqlite 'pragma integrity_check; select max(n) + 1 from t;')" = "ok
$(cat /run/sqlite.committed)"`,
    names: `cd ${own}/names; i=0
${rounds(`mv n$i moving; mv n$(((i + 7) % ${NAMES})) n$i; mv moving n$(((i + 7) % ${NAMES})); chmod 6$((i % 8))4 n$i; i=$(((i + 1) % ${NAMES}))`)}`,
    // A name may go between READDIR and LOOKUP; nothing else may fail.
    list: rounds(`ls -l ${names} 2>&1 >/dev/null | grep -v 'No such file' && exit 1; sleep 1`),
  }
}

/** One guest's part of the load. */
export class GuestLoad {
  readonly #vm: TestGuest
  readonly #programs: Readonly<Record<string, string>>

  /** @param who 0 or 1 */
  constructor(vm: TestGuest, who: number) {
    this.#vm = vm
    this.#programs = programs(who)
  }

  async start(): Promise<void> {
    const start = Object.entries(this.#programs).map(
      ([name, script]) => `cat >/run/${name}.sh <<'END'\nset -e; name=${name}\n${script}\nEND
(sh /run/${name}.sh; echo $? >/run/${name}.status) </dev/null >/run/${name}.log 2>&1 &`,
    )
    await this.#vm.guest.must(['rm -f /run/stop /run/*.status /run/*.rounds /run/*.log', ...start].join('\n'))
  }

  /** Fails where a program has ended. */
  async goesOn(): Promise<void> {
    const ended = await this.#vm.guest.must('for f in /run/*.status; do test -e $f && echo $f; done; true')
    if (ended !== '')
      throw new Error(
        `${ended}:\n${await this.#vm.guest.must(`tail -n 20 ${ended.replaceAll('status', 'log').replaceAll('\n', ' ')}`)}`,
      )
  }

  /** Ends the programs. @returns how often each has done what it does */
  async stop(): Promise<Record<string, number>> {
    const { guest } = this.#vm
    await guest.must('touch /run/stop')
    const done: Record<string, number> = {}
    for (const name of Object.keys(this.#programs)) {
      await guest.must(`until test -e /run/${name}.status; do sleep 0.5; done`, PATIENCE_MS)
      equal(
        await guest.must(`cat /run/${name}.status`),
        '0',
        `${name}\n${await guest.must(`tail -n 20 /run/${name}.log`)}`,
      )
      const count = await guest.must(
        name === 'turns' ? 'cat /run/turns.rounds' : `wc -l </run/${name}.rounds || echo 0`,
      )
      done[name] = Number(count)
      check(Number(count) > 0, `${name} has done nothing`)
    }
    return done
  }

  /** So that the guest knows no more than its mount, and has nothing in its window. */
  dropCaches(): Promise<string> {
    return this.#vm.guest.must('sync; for i in 1 2 3; do echo 3 >/proc/sys/vm/drop_caches; sleep 0.2; done')
  }
}
