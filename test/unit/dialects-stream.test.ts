import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createTranslation } from '../../src/dialects/translation.ts'
import { root } from '../launch.ts'
import { importsOf } from '../syntax.ts'
import { apis, base, dialects, sampleStream } from './dialects.ts'

const words = 200
const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

describe.each([...dialects])('%s', (name, dialect) => {
  test.each(apis.map((api) => [api.name, api] as const))('to %s: no event waits for the next', (_, api) => {
    const chat = { model: 'm', messages: [], stream: true }
    const stream = createTranslation({ api, dialect, chat, base }).stream()
    let told = 0
    for (const piece of sampleStream(name, words)) {
      const { bytes, fault } = stream.push(piece)
      expect(fault).toBeUndefined()
      const [word] = /"(w\d+ )"/.exec(text(piece)) ?? []
      if (word === undefined) continue
      expect(text(bytes)).toContain(word)
      told += 1
    }
    expect(told).toBe(words)
    expect(stream.end().fault).toBeUndefined()
  })
})

/**
 * To add a dialect: its file, a row of the table that names it, and its folder of fixtures. What is asked of every
 * dialect is then asked of it: the tables, its answers whole, streamed and cut, and that no event waits.
 */
describe('adding a dialect', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `src/${file}`)
  const isDialect = (file: string): boolean =>
    /^src\/dialects\//.test(file) &&
    /^export (const|function) \w+.*: Dialect\b/m.test(readFileSync(join(root, file), 'utf8'))

  test('only the provider table names one', () => {
    const own = files.filter(isDialect)
    expect(own.length).toBeGreaterThanOrEqual(dialects.size)
    const importers = files.filter((file) => {
      if (file.startsWith('src/dialects/')) return false
      const names = importsOf(file, readFileSync(join(root, file), 'utf8'))
      return names.some((name) => own.includes(join(file, '..', name)))
    })
    expect(importers).toEqual(['src/providers/table.ts'])
  })

  test('its fixtures are a folder of its name, and no folder is of nobody', () => {
    const folders = readdirSync(join(root, 'test/fixtures')).filter((name) => !/^(hub|usage|tls)$/.test(name))
    expect(folders.toSorted()).toEqual([...dialects.keys()].toSorted())
  })
})
