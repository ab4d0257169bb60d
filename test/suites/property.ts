import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { connect, type Line, LineError } from '../../src/client/index.ts'
import { chat, ledger, newKey, post, upstream } from '../client.ts'
import { startProxy } from '../proxy.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

const path = 'chat/completions'
const weathers = 12
const testMs = 120_000

/** What the provider does, what the client does, and when the network fails. */
interface Story {
  readonly events: number
  readonly control: Control
  /** Bytes in every write of the provider; 0 for whole events. */
  readonly slice: number
  /** Event after which the provider breaks off, and how; undefined for a whole answer. */
  readonly broken: { readonly how: 'cut' | 'reset' | 'truncate'; readonly after: number } | undefined
  /** Milliseconds the reader rests after every piece. */
  readonly restMs: number
  /** Pieces after which the client leaves. */
  readonly abortAfter: number | undefined
}

const story: fc.Arbitrary<Story> = fc.record({
  events: fc.integer({ min: 1, max: 60 }),
  control: fc.record({
    crlf: fc.boolean(),
    comments: fc.boolean(),
    noDone: fc.boolean(),
    interval: fc.integer({ min: 0, max: 8 }),
  }),
  slice: fc.oneof(fc.constant(0), fc.integer({ min: 20, max: 300 })),
  broken: fc.option(
    fc.record({
      how: fc.constantFrom('cut', 'reset', 'truncate'),
      after: fc.integer({ min: 0, max: 40 }),
    }),
    { nil: undefined, freq: 3 },
  ),
  restMs: fc.constantFrom(0, 0, 0, 15),
  abortAfter: fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined, freq: 4 }),
})
/** Milliseconds between one failure of the network and the next. */
const failures = fc.array(fc.integer({ min: 5, max: 250 }), { maxLength: 8 })

/** How a client saw its answer end. */
type End = 'whole' | 'incomplete' | 'aborted'

const toControl = ({ control, slice, events, broken }: Story): Control => ({
  ...control,
  events,
  ...(slice > 0 && { slice }),
  ...(broken && broken.after < events && { [broken.how]: broken.after }),
})

/** Read an answer as the story tells; the bytes that came, and their end. */
async function live(line: Line, one: Story, key: string, text: string): Promise<{ bytes: string; end: End }> {
  const leaving = new AbortController()
  const parts: Uint8Array[] = []
  let end: End = 'whole'
  try {
    if (one.abortAfter === 0) setTimeout(() => leaving.abort(), 20)
    const response = await line.fetch(`${line.url('openai')}/${path}`, {
      method: 'POST',
      body: JSON.stringify(chat(text, { stream: true })),
      headers: { 'content-type': 'application/json', ...upstream({ ...toControl(one), key }) },
      signal: leaving.signal,
    })
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      parts.push(part)
      if (one.restMs) await sleep(one.restMs)
      if (parts.length === one.abortAfter) leaving.abort()
    }
  } catch (error) {
    if (!leaving.signal.aborted && !(error instanceof LineError)) throw error
    end = leaving.signal.aborted ? 'aborted' : 'incomplete'
  }
  return { bytes: Buffer.concat(parts).toString(), end }
}

/** The emulator's own answer, unbroken. */
async function truth(target: Target, { control, events }: Story, text: string): Promise<string> {
  const { interval: _, ...form } = control
  const body = chat(text, { stream: true })
  return (await post(`${target.upstream}/openai/${path}`, body, upstream({ ...form, events }))).text()
}

/** Random answers, readers and networks. */
export function propertySuite(target: Target): void {
  test('a client sees each event once and in order, and an end that is true', {
    timeout: testMs,
  }, async () => {
    const text = 'ünï©ødé 🙂 tëxt'
    await fc.assert(
      fc.asyncProperty(fc.array(story, { minLength: 1, maxLength: 25 }), failures, async (stories, rests) => {
        const proxy = await startProxy(Number(new URL(target.url).port))
        const line = await connect(`ws://127.0.0.1:${proxy.port}/v1/default/default`)
        const keys = stories.map(newKey)
        const fail = (async () => {
          for (const [index, ms] of rests.entries()) {
            await sleep(ms)
            if (index % 3 === 2) proxy.freeze()
            proxy.cut({ how: index % 2 ? 'fin' : 'rst' })
          }
        })()
        const ends = await Promise.all(stories.map((one, index) => live(line, one, keys[index]!, text)))
        await fail
        for (const [index, one] of stories.entries()) {
          const { bytes, end } = ends[index]!
          const whole = await truth(target, one, text)
          const isBroken = one.broken !== undefined && one.broken.after < one.events
          expect(whole.startsWith(bytes), `a prefix of the provider's bytes`).toBe(true)
          if (end === 'whole') expect([bytes, isBroken]).toEqual([whole, false])
          if (end === 'incomplete') expect(isBroken).toBe(true)
          if (end === 'aborted') expect(one.abortAfter).toBeDefined()
          expect((await ledger(target, keys[index]!)).length, 'calls').toBeLessThanOrEqual(1)
          if (end !== 'aborted') expect(await ledger(target, keys[index]!), 'calls').toHaveLength(1)
        }
        line.close()
        await proxy.close()
      }),
      { numRuns: weathers, endOnFailure: true },
    )
  })
}
