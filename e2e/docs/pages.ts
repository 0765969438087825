// SPDX-License-Identifier: Apache-2.0
/** What `npm run docs` renders: every document of the repository, and in which order the navigation shows them. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../rig/paths.ts'

/** Sections of the navigation; documents that none of them names come last, in one of their own. */
const SECTIONS: readonly { readonly title: string; readonly sources: readonly string[] }[] = [
  {
    title: 'Use',
    sources: [
      'README.md',
      'doc/quickstart.md',
      'doc/install.md',
      'doc/usage.md',
      'doc/managers.md',
      'doc/systemd.md',
      'doc/recipes.md',
      'doc/sizing.md',
      'doc/troubleshooting.md',
      'doc/comparison.md',
    ],
  },
  { title: 'Watch', sources: ['doc/logging.md', 'doc/metrics.md', 'doc/tracing.md'] },
  { title: 'Manual', sources: ['doc/viewfsd.1', 'doc/viewfsdctl.1', 'doc/memory-view.4'] },
  {
    title: 'How it works',
    sources: ['ARCHITECTURE.md', 'SECURITY.md', 'doc/memory-view.md', 'doc/vhost-user.md', 'CHANGELOG.md'],
  },
]
const OTHERS = 'Work on it'

/** Every document: Markdown at the top and in doc/, and manual pages; paths from the top of the checkout. */
export function documents(): string[] {
  const inDoc = readdirSync(join(checkout, 'doc')).map((name) => `doc/${name}`)
  return [...readdirSync(checkout), ...inDoc].filter((path) => /\.(md|[1-8])$/.test(path)).toSorted()
}

export function navigation(): { title: string; sources: string[] }[] {
  const all = documents()
  const named = SECTIONS.map(({ title, sources }) => ({ title, sources: sources.filter((path) => all.includes(path)) }))
  const rest = all.filter((path) => !named.some(({ sources }) => sources.includes(path)))
  return [...named, { title: OTHERS, sources: rest }]
}

/** Where a document, or a file or folder of the repository, is in the rendering. */
export function outputPath(source: string): string {
  if (source === 'README.md') return 'index.html'
  if (source.endsWith('/')) return `${source}index.html`
  return source.endsWith('.md') ? source.replace(/\.md$/, '.html') : `${source}.html`
}
