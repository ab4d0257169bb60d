import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Dialect } from '../../src/dialects/dialect.ts'
import type { Chat } from '../../src/dialects/hub.ts'
import { createTranslation } from '../../src/dialects/translation.ts'
import type { Translated } from '../../src/types.ts'
import { checkAnswer, checkErrors, checkStream } from './dialect-checks.ts'
import { type AnswerFixture, apis, base, dialects, readFixture, streamsOf } from './dialects.ts'

const decoder = new TextDecoder()
const asked: Chat = { model: 'm-1', messages: [], stream: true, stream_options: { include_usage: true } }

/** What a client of an API reads of a stream that comes in these pieces. */
function translate(
  dialect: Dialect,
  api: (typeof apis)[number],
  pieces: readonly Uint8Array[],
): Translated[] {
  const stream = createTranslation({ api, dialect, chat: asked, base }).stream()
  return [...pieces.map((piece) => stream.push(piece)), stream.end()]
}

const textOf = (parts: readonly Translated[]): string =>
  parts.map(({ bytes }) => decoder.decode(bytes)).join('')

/** Bytes cut at any places. */
const cut = (bytes: Uint8Array, places: readonly number[]): Uint8Array[] => {
  const at = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b)
  return [...at, bytes.length].map((end, index) => bytes.subarray(at[index - 1] ?? 0, end))
}

const hubCases = Object.keys(readFixture<AnswerFixture>('openai', 'answers.json').cases)

describe.each([...dialects])('%s', (name, dialect) => {
  const { source, cases } = readFixture<AnswerFixture>(name, 'answers.json')
  const streams = streamsOf(name)

  test('says where its answers are from, and tells of every kind', () => {
    expect(source).toMatch(/reference|schemas/)
    expect(Object.keys(cases)).toEqual(expect.arrayContaining(hubCases))
  })

  test.each(Object.keys(cases))('whole: %s', (what) => void checkAnswer(name, dialect, what))

  test.each([...streams.keys()])(
    'streamed, it is the same: %s',
    (what) => void checkStream(name, dialect, what),
  )

  test('streams are there for texts, calls and reasoning', () => {
    expect([...streams.keys()]).toEqual(expect.arrayContaining(['text', 'tool calls', 'reasoning']))
  })

  test.each([...streams])('cut anywhere, it is the same for every API: %s', (_, bytes) => {
    for (const api of apis) {
      const whole = textOf(translate(dialect, api, [bytes]))
      expect(whole).not.toBe('')
      fc.assert(
        fc.property(fc.array(fc.nat(1 << 20), { maxLength: 12 }), (places) => {
          const parts = translate(dialect, api, cut(bytes, places))
          expect(textOf(parts)).toBe(whole)
          expect(parts.some(({ fault }) => fault)).toBe(false)
        }),
        { numRuns: 40 },
      )
      expect(
        textOf(
          translate(
            dialect,
            api,
            [...bytes].map((byte) => Uint8Array.of(byte)),
          ),
        ),
      ).toBe(whole)
    }
  })

  test.each([...streams])('ended early, it is broken, and says so: %s', (_, bytes) => {
    const events = readEnds(bytes, dialect)
    fc.assert(
      fc.property(fc.nat(events - 1), (end) => {
        for (const api of apis) {
          const fault = translate(dialect, api, [bytes.subarray(0, end)]).find((part) => part.fault)?.fault
          expect(fault).toMatchObject({ status: 502 })
          expect(JSON.parse(fault?.body ?? '')).toHaveProperty('error.message')
        }
      }),
      { numRuns: 30 },
    )
  })

  test('errors', () => void checkErrors(name))
})

/** The shortest beginning that is a whole answer; what comes after it tells of usage, or that there is no more. */
function readEnds(bytes: Uint8Array, dialect: Dialect): number {
  for (let end = 1; end <= bytes.length; end += 1) {
    const parts = translate(dialect, apis[0]!, [bytes.subarray(0, end)])
    if (!parts.some(({ fault }) => fault)) return end
  }
  return expect.fail('no part of it is whole')
}
