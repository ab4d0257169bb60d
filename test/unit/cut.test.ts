import { expect, test } from 'vitest'
import { byteLength, cut } from '../../src/cut.ts'

const texts = [
  '',
  'plain',
  'é',
  '鸟🦜',
  '🦜'.repeat(70_000),
  `a${'🦜'.repeat(70_000)}`,
  '鸟'.repeat(70_000),
  'x\ud800y',
]

test.each(texts)('a text has the bytes that an encoder makes of it: %.9s…', (text) => {
  expect(byteLength(text)).toBe(new TextEncoder().encode(text).byteLength)
})

test.each([
  ['abc', 3, 'abc'],
  ['abc', 2, 'ab'],
  ['éé', 3, 'é'],
  ['鸟鸟', 5, '鸟'],
  ['a🦜', 4, 'a'],
  ['a🦜', 5, 'a🦜'],
])('%s is cut to %d bytes between two characters', (text, bytes, kept) => {
  expect(cut(text, bytes)).toBe(kept)
})
