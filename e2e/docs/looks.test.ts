// SPDX-License-Identifier: Apache-2.0
/**
 * The rendering of the documents, in a browser: links and anchors, nothing from elsewhere, no overflow on a phone or a desk, and
 * what axe finds, contrast above all, in light and in dark.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const TOP = resolve(import.meta.dirname, '../..')
const BROWSER = '/usr/bin/chromium'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const WIDTHS = { phone: 360, desk: 1280 }

execFileSync(process.execPath, [join(TOP, 'dist/e2e/docs/build.js')], { stdio: 'ignore' })
const DOCS = join(process.env['VIEWFSD_CACHE'] ?? join(TOP, '.cache'), 'docs')
const pages = readdirSync(DOCS, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.html'))
  .toSorted()
/** Pages of documents; the others show files of the repository, all in the same way. */
const documents = pages.filter((name) => /^(doc\/)?[^/]+\.html$/.test(name))

/** What a page has for others to link to, and what it links to itself. */
interface Links {
  readonly ids: readonly string[]
  readonly links: readonly string[]
  readonly brokenImages: readonly string[]
}

const READ_LINKS = `({
  ids: [...document.querySelectorAll('[id]')].map((element) => element.id),
  links: [...document.querySelectorAll('a[href]')].map((element) => element.href),
  brokenImages: [...document.images].filter((image) => !(image.naturalWidth > 0)).map((image) => image.src),
})`

/** What is wider than the page lets it be. */
const READ_OVERFLOW = `(() => {
  const width = document.documentElement.clientWidth
  const inScroller = (element) => element.parentElement?.closest('pre, .scroll') !== null
  const wide = [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > width + 1 && !inScroller(element))
    .map((element) => element.tagName + ' ' + element.textContent.trim().slice(0, 60))
  const { scrollWidth } = document.documentElement
  return scrollWidth > width ? ['scrolls ' + scrollWidth, ...wide.slice(0, 5)] : wide.slice(0, 5)
})()`

let browser: Browser
const outside = new Set<string>()

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: BROWSER, args: ['--no-sandbox'] })
})
afterAll(() => browser.close())

async function open(colorScheme: 'light' | 'dark', width: number): Promise<Page> {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } })
  const view = await context.newPage()
  view.on('request', (request) => {
    if (!request.url().startsWith('file://')) outside.add(request.url())
  })
  return view
}

function address(name: string): string {
  return pathToFileURL(join(DOCS, name)).href
}

test('each link goes to a page that is there, and to an anchor of it; nothing comes from elsewhere', async () => {
  const view = await open('light', WIDTHS.desk)
  const found = new Map<string, Links>()
  for (const name of pages) {
    await view.goto(address(name))
    found.set(name, await view.evaluate<Links>(READ_LINKS))
  }
  const broken: string[] = []
  for (const [name, { links, brokenImages }] of found) {
    broken.push(...brokenImages.map((image) => `${name}: image ${image}`))
    for (const link of links.filter((href) => href.startsWith('file:'))) {
      const { pathname, hash } = new URL(link)
      const target = relative(DOCS, fileURLToPath(`file://${pathname}`))
      const anchor = decodeURIComponent(hash.slice(1))
      const { ids } = found.get(target) ?? {}
      if (ids === undefined && !existsSync(join(DOCS, target))) broken.push(`${name}: ${target}`)
      else if (anchor !== '' && !ids?.includes(anchor)) broken.push(`${name}: ${target}#${anchor}`)
    }
  }
  expect(broken).toEqual([])
  expect([...outside]).toEqual([])
  expect(documents.length).toBeGreaterThan(15)
  await view.context().close()
})

test('each document is reached from the first page', async () => {
  const view = await open('light', WIDTHS.desk)
  await view.goto(address('index.html'))
  const { links } = await view.evaluate<Links>(READ_LINKS)
  for (const name of documents) expect(links).toContain(address(name))
  await view.context().close()
})

describe.each(['light', 'dark'] as const)('in %s', (scheme) => {
  test('no page is wider than a phone or a desk', async () => {
    const view = await open(scheme, WIDTHS.desk)
    const wide: string[] = []
    for (const name of pages) {
      await view.goto(address(name))
      for (const [kind, width] of Object.entries(WIDTHS)) {
        await view.setViewportSize({ width, height: 800 })
        const overflow = await view.evaluate<string[]>(READ_OVERFLOW)
        wide.push(...overflow.map((element) => `${name} on a ${kind}: ${element}`))
      }
    }
    expect(wide).toEqual([])
    await view.context().close()
  })

  test('axe finds nothing: contrast, names, structure', async () => {
    const view = await open(scheme, WIDTHS.desk)
    const found: string[] = []
    for (const name of [...documents, pages.find((other) => !documents.includes(other)) ?? '']) {
      await view.goto(address(name))
      await view.evaluate(AXE)
      // Hundreds of cells of one table look the same.
      await view.evaluate(
        `for (const body of document.querySelectorAll('tbody')) [...body.rows].slice(8).forEach((row) => row.remove())`,
      )
      const options = "{ resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] }"
      found.push(
        ...(
          await view.evaluate<string[]>(
            `axe.run(document, ${options}).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes[0].html))`,
          )
        ).map((violation) => `${name}: ${violation}`),
      )
    }
    expect(found).toEqual([])
    await view.context().close()
  })
})
