// SPDX-License-Identifier: Apache-2.0
/** Markdown to HTML, as the repository's documents use it: headings with anchors, tables and code that scroll by themselves. */
import MarkdownIt from 'markdown-it'

export interface RenderedMarkdown {
  readonly title: string
  readonly html: string
}

/** The anchor of a heading, as code forges make it: other documents name it in their links. */
export function slug(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
    .replaceAll(' ', '-')
}

/**
 * @param link makes of a link in the document one in the rendering
 */
export function renderMarkdown(text: string, link: (href: string) => string): RenderedMarkdown {
  const md = new MarkdownIt({ html: true, linkify: false })
  const used = new Map<string, number>()
  let title = ''
  md.core.ruler.push('headings', (state) => {
    for (const [index, token] of state.tokens.entries()) {
      if (token.type !== 'heading_open') continue
      const inline = state.tokens[index + 1]
      const plain = (inline?.children ?? []).map(({ content }) => content).join('')
      if (token.tag === 'h1' && title === '') title = plain
      const base = slug(plain)
      const count = used.get(base) ?? 0
      used.set(base, count + 1)
      token.attrSet('id', count === 0 ? base : `${base}-${count}`)
    }
  })
  md.core.ruler.push('links', (state) => {
    for (const token of state.tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === 'link_open' ? token.attrGet('href') : null
      if (href !== null) token.attrSet('href', link(String(href)))
    }
  })
  // Whoever has no mouse scrolls with the keyboard, and for that has to get there.
  let tables = 0
  md.renderer.rules['table_open'] = () =>
    `<div class="scroll" tabindex="0" role="region" aria-label="table ${++tables}"><table>\n`
  md.renderer.rules['table_close'] = () => '</table></div>\n'
  md.renderer.rules['fence'] = (tokens, index) =>
    `<pre tabindex="0"><code>${md.utils.escapeHtml(tokens[index]?.content ?? '')}</code></pre>\n`
  const html = md
    .render(text)
    .replaceAll('<th></th>', '<td></td>')
    .replaceAll(/<th style="text-align:right"><\/th>/g, '<td></td>')
  return { title, html }
}
