// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest'
import { parseDeb822, parseOneLine, pickMirror } from './apt-mirror.ts'

const DEB822 = `# comment
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# another comment
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://third.example/node
Suites: nodistro
Components: main
`

test('reads deb822 stanzas, without disabled ones', () => {
  expect(parseDeb822(DEB822).map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
    'http://mirror.example/debian/ bookworm',
    'http://mirror.example/debian/ bookworm-updates',
    'http://mirror.example/debian-security bookworm-security',
    'http://third.example/node nodistro',
  ])
})

test('reads one-line sources with options and comments', () => {
  const text =
    '# deb http://no.example x main\ndeb [arch=amd64 signed-by=/k.gpg] http://a.example/debian trixie main # c\n'
  expect(parseOneLine(text)).toEqual([{ uri: 'http://a.example/debian', suite: 'trixie', components: ['main'] }])
})

test('takes the mirror of the release itself, not of its security updates or of strangers', () => {
  expect(pickMirror(parseDeb822(DEB822).toReversed(), ['bookworm', 'stable'])).toBe('http://mirror.example/debian')
  expect(pickMirror(parseDeb822(DEB822), ['trixie'])).toBeUndefined()
})
