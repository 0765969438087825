// SPDX-License-Identifier: Apache-2.0
/** Another program on the host that holds a lease on a file (fcntl(2), F_SETLEASE), as a file server does for its clients. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { onTestFinished } from 'vitest'

/** F_SETLEASE of linux/fcntl.h. */
const HOLDER = `
  $| = 1;
  $SIG{IO} = sub { print "broken\\n" };
  open(my $file, '<', $ARGV[0]) or die "open: $!";
  fcntl($file, 1024, $ARGV[1] + 0) or die "F_SETLEASE: $!";
  print "held\\n";
  <STDIN>;`

/** F_RDLCK: nobody opens the file for writing. F_WRLCK: nobody opens it. */
const KINDS = { read: 0, write: 1 }

export class HostLease {
  readonly #holder: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: Interface

  private constructor(path: string, kind: keyof typeof KINDS) {
    this.#holder = spawn('perl', ['-e', HOLDER, path, String(KINDS[kind])], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface(this.#holder.stdout)
    onTestFinished(() => void this.#holder.kill('SIGKILL'))
  }

  /** It ends with the test at the latest. Nobody may have the file open already (for writing). */
  static async take(path: string, kind: keyof typeof KINDS): Promise<HostLease> {
    const lease = new HostLease(path, kind)
    await lease.#says('held')
    return lease
  }

  /** Somebody wants to open the file, and has to wait. To be called before that. */
  broken(): Promise<void> {
    return this.#says('broken')
  }

  /** When it returns, the lease is gone. */
  async giveUp(): Promise<void> {
    this.#holder.stdin.end()
    await once(this.#holder, 'exit')
  }

  async #says(wanted: string): Promise<void> {
    const line: unknown[] = await once(this.#lines, 'line')
    if (line[0] !== wanted) throw new Error(`the holder of the lease says ${String(line[0])}`)
  }
}
