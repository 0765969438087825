// SPDX-License-Identifier: Apache-2.0
/** What all pages have around their text: no script, nothing from elsewhere. */
import { posix } from 'node:path'

export interface NavigationSection {
  readonly title: string
  readonly pages: readonly { readonly path: string; readonly title: string }[]
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** From one page of the rendering to another. */
export function relativeLink(from: string, to: string): string {
  return posix.relative(posix.dirname(from), to)
}

/** @param path of the page, from the top of the rendering */
export function page(path: string, title: string, body: string, sections: readonly NavigationSection[]): string {
  const nav = sections.map((section) => {
    const items = section.pages.map((other) => {
      const current = other.path === path ? ' aria-current="page"' : ''
      return `<li><a href="${relativeLink(path, other.path)}"${current}>${escapeHtml(other.title)}</a></li>`
    })
    return `<h2>${escapeHtml(section.title)}</h2>\n<ul>\n${items.join('\n')}\n</ul>`
  })
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title === 'viewfsd' ? title : `${title} - viewfsd`)}</title>
<link rel="stylesheet" href="${relativeLink(path, 'style.css')}">
</head>
<body>
<header><a href="${relativeLink(path, 'index.html')}">viewfsd</a> <a class="to-pages" href="#pages">All pages</a></header>
<div class="columns">
<main>
${body}</main>
<nav id="pages" aria-label="Pages">
${nav.join('\n')}
</nav>
</div>
</body>
</html>
`
}
