#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** viewfsdctl: looks into a running viewfsd. Exit codes: 0 done, 1 the daemon can't be asked or refuses, 2 wrong usage. */
import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ForgottenMount } from '../../../native/index.ts'
import { UsageError } from '../../options/usage-error.ts'
import type { Metrics } from '../../metrics.ts'
import type { FilesReport } from '../files.ts'
import type { Latencies } from '../latencies.ts'
import type { ActiveRequest, Status } from '../status.ts'
import { CTL_USAGE, type CtlArguments, parseCtl } from './arguments.ts'
import { ControlClient } from './control-client.ts'
import { daxReport, daxScreen } from './dax.ts'
import { forgottenScreen, requestsScreen, statusScreen } from './screens.ts'
import { type Look, topReport, topScreen } from './top.ts'

/** How often `top` looks, in milliseconds. */
const TOP_MS = 1000

/** What a daemon of this version answers. */
interface Answers {
  readonly status: Status
  readonly requests: readonly ActiveRequest[]
  readonly counters: Metrics
  readonly latencies: readonly Latencies[]
  readonly files: FilesReport
  readonly metrics: string
  readonly dump: Readonly<Record<'status' | 'counters' | 'latencies', object>> & {
    readonly requests: readonly ActiveRequest[]
    readonly files: FilesReport
  }
}

async function ask<Name extends keyof Answers>(client: ControlClient, command: Name): Promise<Answers[Name]> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its daemon is trusted, and of this version
  return (await client.ask({ command })) as Answers[Name]
}

function print(text: string): void {
  process.stdout.write(text)
}

function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`)
}

async function run(client: ControlClient, args: CtlArguments): Promise<void> {
  const { command, argument, json } = args
  switch (command) {
    case 'status': {
      const status = await ask(client, 'status')
      if (json) printJson(status)
      else print(statusScreen(status))
      break
    }
    case 'requests': {
      const requests = await ask(client, 'requests')
      if (json) printJson(requests)
      else print(requestsScreen(requests))
      break
    }
    case 'metrics':
      if (json) printJson(await ask(client, 'counters'))
      else print(await ask(client, 'metrics'))
      break
    case 'dax': {
      const report = daxReport(
        await ask(client, 'status'),
        await ask(client, 'counters'),
        await ask(client, 'files'),
        argument,
      )
      if (json) printJson(report)
      else print(daxScreen(report))
      break
    }
    case 'log-level':
      await client.ask({ command, level: argument ?? '' })
      break
    case 'forget': {
      const { sharedDir } = await ask(client, 'status')
      const path = pathInShare(resolve(argument ?? ''), realpathSync(sharedDir))
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as in ask()
      const forgotten = (await client.ask({ command, path })) as ForgottenMount
      if (json) printJson(forgotten)
      else print(forgottenScreen(forgotten))
      break
    }
    case 'upgrade':
      await client.ask({ command })
      break
    case 'dump': {
      const dump = await ask(client, 'dump')
      printJson(args.paths ? dump : withoutNames(dump))
      break
    }
    case 'top':
      await top(client, args)
  }
}

function withoutNames(dump: Answers['dump']): object {
  const names = { sharedDir: null, socketPath: null, tag: null }
  const files = dump.files.files.map((file) => ({ ...file, path: null }))
  const requests = dump.requests.map((request) => ({ ...request, path: null }))
  return { ...dump, requests, status: { ...dump.status, ...names }, files: { ...dump.files, files } }
}

/** @param mount absolute; nothing of it is looked at, since it may not answer */
function pathInShare(mount: string, sharedDir: string): string {
  if (sharedDir === '/') return mount
  if (!mount.startsWith(`${sharedDir}/`)) throw new Error(`${mount} is not below ${sharedDir}`)
  return mount.slice(sharedDir.length)
}

async function look(client: ControlClient): Promise<Look> {
  return {
    counters: await ask(client, 'counters'),
    latencies: await ask(client, 'latencies'),
    files: await ask(client, 'files'),
  }
}

async function top(client: ControlClient, { once, json }: CtlArguments): Promise<void> {
  let before = await look(client)
  let since = performance.now()
  for (;;) {
    await delay(TOP_MS)
    const after = await look(client)
    const status = await ask(client, 'status')
    const now = performance.now()
    const seconds = (now - since) / 1000
    const report = topReport(before, after, seconds)
    if (json) printJson(report)
    // Home, then clear what was there.
    else print(`${once ? '' : '\u001b[H\u001b[J'}${topScreen(status, after, report)}`)
    if (once) return
    before = after
    since = now
  }
}

async function main(): Promise<void> {
  const args = parseCtl(process.argv.slice(2))
  if (args === undefined) {
    print(CTL_USAGE)
    return
  }
  const client = await ControlClient.open(args.socket)
  try {
    await run(client, args)
  } finally {
    client.close()
  }
}

try {
  await main()
} catch (error) {
  process.stderr.write(`viewfsdctl: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof UsageError ? error.exitCode : 1
}
