// SPDX-License-Identifier: Apache-2.0
/** Each command block of the documents is executed by the test that its comment names, or says why not. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkout } from '../rig/paths.ts'
import { blocksOf, commandBlock } from './blocks.ts'
import { documents } from './pages.ts'

const blocks = documents()
  .filter((path) => path.endsWith('.md'))
  .flatMap(blocksOf)
const commands = blocks.filter(({ language }) => language === 'sh')
const EXECUTED = /^executed: ([a-z-]+) by (\S+\.ts)$/

test('each block says what it is: sh for commands', () => {
  expect(blocks.filter(({ language }) => language === '').map(({ document, line }) => `${document}:${line}`)).toEqual(
    [],
  )
  expect(commands.length).toBeGreaterThan(30)
})

test('what looks like commands is marked as such', () => {
  const looks = /^(viewfsd(ctl)?|npm|node|sh|apt|systemctl|mount|qemu-system-\w+|(host|guest)#) /m
  const others = blocks.filter(({ language, text }) => language !== 'sh' && language !== 'text' && looks.test(text))
  expect(others.map(({ document, line }) => `${document}:${line}`)).toEqual([])
})

test.each(commands)('$document:$line is executed by a test, or says why not', ({ comment }) => {
  const words = (/^not executed: (.*)$/.exec(comment)?.[1] ?? '').split(' ')
  expect(EXECUTED.test(comment) || words.length >= 3, `no comment that says so: "${comment}"`).toBe(true)
})

const executed = commands.flatMap(({ document, comment }) => {
  const [, name = '', path = ''] = EXECUTED.exec(comment) ?? []
  return name === '' ? [] : [{ document, name, path }]
})

test.each(executed)('$document, $name: $path executes it', ({ document, name, path }) => {
  expect(existsSync(join(checkout, path)), path).toBe(true)
  expect(readFileSync(join(checkout, path), 'utf8')).toContain(`'${document}', '${name}'`)
  expect(commandBlock(document, name).length).toBeGreaterThan(0)
  expect(executed.filter((other) => other.document === document && other.name === name)).toHaveLength(1)
})

test('most are executed', () => {
  expect(executed.length / commands.length).toBeGreaterThan(2 / 3)
})
