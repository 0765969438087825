// SPDX-License-Identifier: Apache-2.0
/** What packages are built from: the checkout as it is, and how that is called. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { output } from '../rig/command.ts'
import { checkout } from '../rig/paths.ts'

export interface Source {
  /** Relative paths of all that is tracked or could be. */
  readonly files: readonly string[]
  /** Of package.json. */
  readonly version: string
  /** "-dirty" behind it: the files differ. */
  readonly commit: string
  /** Of the commit, in seconds. */
  readonly epoch: number
  /** The commit is the release of this version: it has the tag "vVERSION". */
  readonly released: boolean
}

const git = (...args: readonly string[]): string => output(['git', '-C', checkout, ...args])

/** @throws StepError outside of a git checkout */
export function source(): Source {
  const files = git('ls-files', '-z', '-co', '--exclude-standard').split('\0').filter(Boolean)
  const version = /"version": "([^"]+)"/.exec(readFileSync(join(checkout, 'package.json'), 'utf8'))?.[1]
  if (version === undefined) throw new Error('package.json has no version')
  const commit = git('describe', '--always', '--dirty', '--abbrev=12', '--exclude=*').trim()
  const tags = git('tag', '--points-at', 'HEAD').split('\n')
  return {
    files: files.filter((name) => existsSync(join(checkout, name))),
    version,
    commit,
    epoch: Number(git('log', '-1', '--format=%ct').trim()),
    released: tags.includes(`v${version}`) && !commit.endsWith('-dirty'),
  }
}

/**
 * Debian's version of a package (deb-version(7)): that of the release, or one that sorts before it, whatever it is built for, and after those of
 * earlier commits.
 * @param suffix of a build for another release than the newest, as "deb12u1"
 */
export function debianVersion({ version, commit, epoch, released }: Source, suffix?: string): string {
  const stamp = new Date(epoch * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '.')
  const snapshot = released ? '' : `~0git${stamp}.${commit.replace('-', '.')}`
  return `${version.replace('-', '~')}${snapshot}${suffix === undefined ? '' : `~${suffix}`}`
}

/** debian/changelog, by the maintainer of debian/control: that of the version alone. `suffix`: as above. */
export function debianChangelog(from: Source, suffix?: string): string {
  const control = readFileSync(join(checkout, 'share/debian/control'), 'utf8')
  const maintainer = /^Maintainer: (.+ <.+>)$/m.exec(control)?.[1]
  if (maintainer === undefined) throw new Error('share/debian/control has no maintainer')
  const date = new Date(from.epoch * 1000).toUTCString().replace('GMT', '+0000')
  const head = `viewfsd (${debianVersion(from, suffix)}) unstable; urgency=medium`
  return `${head}\n\n  * See CHANGELOG.md.\n\n -- ${maintainer}  ${date}\n`
}
