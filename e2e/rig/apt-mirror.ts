// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the Debian mirror that this machine's own apt uses, so that the rig needs no host name of its own.
 * Reads one-line (sources.list) and deb822 (.sources) files; follows `mirror+file:` lists as cloud images have them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { output } from './command.ts'
import { StepError } from './progress.ts'

/** One apt source: a mirror, a suite and its components. */
export interface AptSource {
  readonly uri: string
  readonly suite: string
  readonly components: readonly string[]
}

/** Parses a one-line-style file (sources.list(5)): `deb [options] uri suite components...`. */
export function parseOneLine(text: string): AptSource[] {
  const sources: AptSource[] = []
  for (const line of text.split('\n')) {
    const fields = line
      .replace(/#.*/, '')
      .replace(/\[[^\]]*\]/, ' ')
      .trim()
      .split(/\s+/)
    const [type, uri, suite, ...components] = fields
    if (type === 'deb' && uri !== undefined && suite !== undefined) sources.push({ uri, suite, components })
  }
  return sources
}

/** Parses deb822-style stanzas (sources.list(5)); disabled and source-only stanzas are left out. */
export function parseDeb822(text: string): AptSource[] {
  const sources: AptSource[] = []
  const clean = text.replace(/^#.*\n?/gm, '')
  for (const stanza of clean.split(/\n\s*\n/)) {
    const fields = new Map<string, string[]>()
    for (const match of stanza.matchAll(/^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)/gm)) {
      const words = (match[2] ?? '').trim().split(/\s+/).filter(Boolean)
      fields.set((match[1] ?? '').toLowerCase(), words)
    }
    if (fields.get('enabled')?.[0] === 'no' || !(fields.get('types') ?? []).includes('deb')) continue
    for (const uri of fields.get('uris') ?? [])
      for (const suite of fields.get('suites') ?? [])
        sources.push({ uri, suite, components: fields.get('components') ?? [] })
  }
  return sources
}

/** `mirror+file:/path` names a file of mirrors, one a line; the first one is taken. Other URIs stay as they are. */
function followMirrorList(uri: string): string | undefined {
  const match = /^mirror\+file:(?:\/\/)?(\/.*)$/.exec(uri)
  if (match?.[1] === undefined) return uri
  if (!existsSync(match[1])) return undefined
  return readFileSync(match[1], 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim().split(/\s+/)[0])
    .find((line) => line !== undefined && line !== '')
}

/** Picks the main archive's mirror: the source whose suite is the release itself (`bookworm`, `stable`, ...). */
export function pickMirror(sources: readonly AptSource[], releaseNames: readonly string[]): string | undefined {
  const candidates = sources
    .filter((source) => releaseNames.includes(source.suite) && source.components.includes('main'))
    .map((source) => followMirrorList(source.uri))
  return candidates.find((uri) => uri !== undefined && /^(https?|file):/.test(uri))?.replace(/\/+$/, '')
}

function readSources(aptDir: string): AptSource[] {
  const sources: AptSource[] = []
  const list = join(aptDir, 'sources.list')
  if (existsSync(list)) sources.push(...parseOneLine(readFileSync(list, 'utf8')))
  const parts = join(aptDir, 'sources.list.d')
  if (existsSync(parts))
    for (const name of readdirSync(parts).toSorted()) {
      const text = readFileSync(join(parts, name), 'utf8')
      if (name.endsWith('.sources')) sources.push(...parseDeb822(text))
      else if (name.endsWith('.list')) sources.push(...parseOneLine(text))
    }
  return sources
}

/** This machine's Debian mirror; `VIEWFSD_MIRROR` overrides it. */
export function machineMirror(): string {
  const override = process.env['VIEWFSD_MIRROR']
  if (override !== undefined && override !== '') return override.replace(/\/+$/, '')
  const release = readFileSync('/etc/os-release', 'utf8')
  const codename = /^VERSION_CODENAME=(.+)$/m.exec(release)?.[1] ?? ''
  const names = [codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid'].filter(Boolean)
  const mirror = pickMirror(readSources('/etc/apt'), names)
  if (mirror === undefined)
    throw new StepError(`no Debian mirror found in /etc/apt (wanted: one of ${names.join(', ')}); set VIEWFSD_MIRROR`)
  return mirror
}

/** This machine's apt proxy and TLS settings, as lines for an apt.conf file. */
export function machineAptSettings(): string {
  return output(['apt-config', 'dump'])
    .split('\n')
    .filter((line) => /^Acquire::(https?::|ftp::|Retries|Check-Valid-Until|By-Hash|ForceIPv)/i.test(line))
    .map((line) => `${line}\n`)
    .join('')
}
