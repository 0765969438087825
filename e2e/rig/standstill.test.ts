// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MONITOR, StandstillWatch } from './standstill.ts'

let base: string
let dir: string
let watch: StandstillWatch
let givenUp = 0

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'viewfsd-standstill-'))
  // Longer than sun_path.
  dir = join(base, 'x'.repeat(120))
  mkdirSync(join(dir, 'out'), { recursive: true })
  givenUp = 0
  watch = new StandstillWatch(dir, () => givenUp++)
})

afterEach(() => {
  watch.end()
  rmSync(base, { recursive: true })
})

/** The host gave its last sign that long ago. */
function silentFor(seconds: number): void {
  const sign = join(dir, 'out/.alive')
  writeFileSync(sign, '')
  const then = Date.now() / 1000 - seconds
  utimesSync(sign, then, then)
}

/** What a monitor hears until its caller hangs up. */
async function heard(act: () => void): Promise<string> {
  const folder = process.cwd()
  let server: Server | undefined
  try {
    return await new Promise<string>((resolve) => {
      server = createServer((socket) => {
        let text = ''
        socket.on('data', (chunk) => (text += chunk.toString()))
        socket.on('end', () => resolve(text))
        socket.write('monitor\r\n')
      })
      process.chdir(dir)
      server.listen(MONITOR, act)
      process.chdir(folder)
    })
  } finally {
    server?.close()
  }
}

describe('StandstillWatch', () => {
  it('presses a key when the host has been silent', async () => {
    silentFor(20)
    expect(await heard(() => watch.check())).toBe('sendkey shift\n')
    expect(givenUp).toBe(0)
    silentFor(0)
    watch.check()
    expect(readFileSync(join(dir, 'standstill.log'), 'latin1')).toMatch(/after 20 s of silence and \d+ keys/)
  })

  it('presses on without a monitor', () => {
    silentFor(20)
    expect(() => watch.check()).not.toThrow()
  })

  it('gives up after minutes', () => {
    silentFor(300)
    watch.check()
    expect(givenUp).toBe(1)
  })

  it('waits for the first sign as long as it takes', () => {
    watch.check()
    expect(givenUp).toBe(0)
  })
})
