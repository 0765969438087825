// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run docs`: all documents as HTML in <cache>/docs, from the files of the checkout alone. The rendering has the repository's
 * paths, with .html for .md and behind what is no document but linked to: a file of the repository is shown, and a folder's
 * files are listed.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { cacheDir, checkout } from '../rig/paths.ts'
import { runMain, say } from '../rig/progress.ts'
import { renderMarkdown } from './markdown.ts'
import { documents, navigation, outputPath } from './pages.ts'
import { escapeHtml, type NavigationSection, page, relativeLink } from './template.ts'

/** Where the rendering goes. */
export const DOCS: string = join(cacheDir, 'docs')

function read(source: string): string {
  return readFileSync(join(checkout, source), 'utf8')
}

function write(path: string, text: string): void {
  mkdirSync(join(DOCS, path, '..'), { recursive: true })
  writeFileSync(join(DOCS, path), text)
}

function isFolder(source: string): boolean {
  const path = join(checkout, source)
  return existsSync(path) && statSync(path).isDirectory()
}

function filesIn(folder: string): string[] {
  const list = execFileSync('git', ['ls-files', '-z', '--', folder], { cwd: checkout, encoding: 'utf8' })
  return list.split('\0').filter((path) => path !== '')
}

/** Renders one after the other, and what they link to. */
class Rendering {
  /** What is linked to and is no document: files and folders of the repository. */
  readonly #sources = new Set<string>()
  readonly #images = new Set<string>()
  readonly #sections: NavigationSection[]
  readonly #bodies = new Map<string, { title: string; html: string }>()

  constructor() {
    for (const source of documents()) this.#bodies.set(source, this.#document(source))
    this.#sections = navigation().map(({ title, sources }) => ({
      title,
      pages: sources.map((source) => ({ path: outputPath(source), title: this.#bodies.get(source)?.title ?? source })),
    }))
  }

  #document(source: string): { title: string; html: string } {
    if (!source.endsWith('.md')) return manual(source)
    const rendered = renderMarkdown(read(source), (href) => this.#link(source, href))
    for (const [, image = ''] of rendered.html.matchAll(/<img [^>]*?src="([^":]+)"/g))
      this.#images.add(posix.join(posix.dirname(source), image))
    return rendered
  }

  /** A link of a document, as one of its page. */
  #link(source: string, href: string): string {
    if (/^([a-z]+:|#)/.test(href)) return href
    const [path = '', anchor] = href.split('#')
    let target = posix.join(posix.dirname(source), path)
    if (isFolder(target) && !target.endsWith('/')) target += '/'
    if (!/\.(md|[1-8])$/.test(target)) this.#sources.add(target)
    return relativeLink(outputPath(source), outputPath(target)) + (anchor === undefined ? '' : `#${anchor}`)
  }

  #write(source: string, title: string, html: string): void {
    write(outputPath(source), page(outputPath(source), title, html, this.#sections))
  }

  /** @returns how many pages there are */
  write(): number {
    rmSync(DOCS, { recursive: true, force: true })
    for (const [source, { title, html }] of this.#bodies) this.#write(source, title, html)
    for (const folder of [...this.#sources].filter((path) => path.endsWith('/'))) {
      const files = filesIn(folder)
      for (const file of files) this.#sources.add(file)
      const items = files.map((file) => {
        const link = relativeLink(outputPath(folder), outputPath(file))
        return `<li><a href="${link}">${escapeHtml(file.slice(folder.length))}</a></li>\n`
      })
      this.#write(folder, folder, `<h1>${escapeHtml(folder)}</h1>\n<ul>\n${items.join('')}</ul>\n`)
    }
    const files = [...this.#sources].filter((path) => !path.endsWith('/'))
    // What is not there is found by whoever follows the link.
    for (const file of files.filter((path) => existsSync(join(checkout, path)) && !this.#bodies.has(path)))
      this.#write(
        file,
        file,
        `<h1>${escapeHtml(file)}</h1>\n<pre tabindex="0"><code>${escapeHtml(read(file))}</code></pre>\n`,
      )
    for (const image of this.#images) {
      mkdirSync(join(DOCS, image, '..'), { recursive: true })
      if (existsSync(join(checkout, image))) copyFileSync(join(checkout, image), join(DOCS, image))
    }
    copyFileSync(join(checkout, 'e2e/docs/style.css'), join(DOCS, 'style.css'))
    return this.#bodies.size
  }
}

/** A manual page, whose own headings come below its title. */
function manual(source: string): { title: string; html: string } {
  const fragment = execFileSync('mandoc', ['-T', 'html', '-O', 'fragment', join(checkout, source)], {
    encoding: 'utf8',
  })
  const title = source.replace(/^.*\/(.*)\.(\d)$/, '$1($2)')
  const html = fragment
    .replaceAll(/<(\/?)h2\b/g, '<$1h3')
    .replaceAll(/<(\/?)h1\b/g, '<$1h2')
    .replaceAll('<pre>', '<pre tabindex="0">')
    .replaceAll(/<a class="Xr">([\w-]+)\((\d)\)<\/a>/g, (text, name: string, section: string) =>
      documents().includes(`doc/${name}.${section}`)
        ? `<a href="${name}.${section}.html">${name}(${section})</a>`
        : text,
    )
  return { title, html: `<h1>${title}</h1>\n${html}` }
}

function main(): Promise<number> {
  const count = new Rendering().write()
  say(`${count} documents: ${DOCS}/index.html`)
  return Promise.resolve(0)
}

if (process.argv[1]?.endsWith('/build.js')) runMain(main)
