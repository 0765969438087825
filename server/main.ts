#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** viewfsd's entry. Exit codes: 0 asked to end or the frontend has gone, 1 something failed, 2 wrong usage. */
import { rmSync } from 'node:fs'
import { servers } from '../native/index.ts'
import { setDescriptorLimit } from './descriptor-limit.ts'
import { checkSharedDir, checkUser, launchDaemon } from './launch-daemon.ts'
import { socketFiles } from './listener.ts'
import { helpText } from './options/help.ts'
import { EXIT_USAGE } from './options/usage-error.ts'
import { type Options, parseCommandLine, UsageError } from './options.ts'
import { capabilitiesText, versionText } from './program-info.ts'
import { takeSocketActivation } from './socket-activation.ts'
import { type Launched, needsLaunch, takeLaunched } from './sandbox/launch.ts'

async function run(options: Options, launched: Launched | undefined): Promise<void> {
  // Only now: the process that makes way for the launcher needs neither.
  const [{ Daemon }, { createLogger, openLog }] = await Promise.all([import('./daemon.ts'), import('./log.ts')])
  const logOptions = openLog(options)
  const log = createLogger(logOptions)
  for (const warning of options.warnings) log.warn({ event: 'option-deprecated' }, warning)
  const failed = (error: unknown): never => {
    log.fatal({ event: 'start-failed', err: error }, error instanceof Error ? error.message : String(error))
    // The process before this one has made it; where there is a sandbox the launcher removes it.
    if (launched?.root === -1) for (const path of socketFiles(options)) rmSync(path, { force: true })
    process.exit(1)
  }
  const daemon = attempt(() => {
    const warning = setDescriptorLimit(options.descriptorLimit)
    if (warning !== undefined) log.warn({ event: 'descriptors-few' }, warning)
    return new Daemon(options, log, logOptions, launched)
  }, failed)
  const end = (signal: NodeJS.Signals): void => {
    log.info({ event: 'ending', signal }, 'ending')
    daemon.end(0)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  process.on('SIGHUP', () => daemon.hangUp())
  process.on('SIGUSR1', () => daemon.logCounters())
  process.on('uncaughtException', (error) => {
    log.fatal({ event: 'bug', err: error }, 'a bug in viewfsd')
    daemon.end(1)
  })
  // With all signals handled: whoever sees the socket may send one.
  attempt(() => daemon.start(), failed)
}

function attempt<T>(action: () => T, failed: (error: unknown) => never): T {
  try {
    return action()
  } catch (error) {
    return failed(error)
  }
}

function runOrLaunch(options: Options): Promise<void> {
  const launched = takeLaunched()
  if (launched === undefined) {
    checkUser(options)
    checkSharedDir(options)
    // The launcher speaks to a service manager.
    if (needsLaunch(options) || process.env['NOTIFY_SOCKET'] !== undefined) launchDaemon(options)
  }
  return run(options, launched)
}

/** Whether this program can go on where another one is, asked by the first process before it gives anything up. */
function answerProbe(): void {
  const state = process.env['VIEWFSD_PROBE']
  if (state !== undefined) process.exit(servers.canSucceed(Number(state)) ? 0 : 1)
}

try {
  answerProbe()
  // Those that the launcher starts again get it as an argument.
  process.argv.push(...takeSocketActivation(process.env, process.pid))
  const commandLine = parseCommandLine(process.argv.slice(2))
  switch (commandLine.action) {
    case 'run':
      await runOrLaunch(commandLine.options)
      break
    case 'check':
      process.exitCode = (await import('./check/check.ts')).runCheck(commandLine.json)
      break
    case 'help':
    case 'short-help':
      process.stdout.write(helpText(commandLine.action === 'help'))
      break
    case 'version':
      process.stdout.write(versionText())
      break
    case 'print-capabilities':
      process.stdout.write(capabilitiesText())
      break
    case 'no-arguments':
      process.stderr.write(helpText(false))
      process.exitCode = EXIT_USAGE
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`viewfsd: ${error.message}\n`)
  process.exitCode = error.exitCode
}
