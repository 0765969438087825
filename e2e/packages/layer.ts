// SPDX-License-Identifier: Apache-2.0
/** A root as if it had just been made: all that is written goes to memory, and vanishes with the command. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { shellQuote, start, stop } from '../rig/command.ts'

/**
 * argv that runs `script` (sh) in a layer over `root`.
 * @param mounts commands that run before, outside, with $ROOT for the layer
 */
export function inLayer(root: string, script: string, mounts: readonly string[] = []): string[] {
  const outer = `set -e
mount -t tmpfs -o size=8g,mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
ROOT=/mnt/root
mount -t overlay -o ${shellQuote(`lowerdir=${root},upperdir=/mnt/upper,workdir=/mnt/work`)} overlay "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
${mounts.join('\n')}
exec chroot "$ROOT" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -ec ${shellQuote(script)}`
  return ['unshare', '--mount', '--pid', '--uts', '--ipc', '--fork', '--kill-child', 'sh', '-ec', outer]
}

/** A layer that runs one script after the other; it and all that was started in it end with {@link LayerShell.stop}. */
export class LayerShell {
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(root: string, mounts: readonly string[]) {
    this.#process = start(inLayer(root, 'exec sh', mounts), {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    if (this.#process.stdout === null) throw new Error('no pipe')
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
  }

  /** Of its first process, by which other programs can enter it. */
  get pid(): number {
    const parent = this.#process.pid ?? 0
    return Number(readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ')[0])
  }

  /** @returns what the script printed. @throws Error unless it ends with 0 */
  async run(script: string): Promise<string> {
    const end = `end-${process.hrtime.bigint()}`
    this.#process.stdin?.write(`sh -ec ${shellQuote(script)} </dev/null 2>&1; printf '\\n%s %s\\n' ${end} $?\n`)
    const output: string[] = []
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done === true) throw new Error(`the layer has gone:\n${output.join('\n')}`)
      if (value.startsWith(`${end} `)) {
        const text = output.join('\n').trimEnd()
        if (value !== `${end} 0`) throw new Error(`${script}\nended with ${value.slice(end.length + 1)}:\n${text}`)
        return text
      }
      output.push(value)
    }
  }

  stop(): void {
    stop(this.#process)
  }
}
