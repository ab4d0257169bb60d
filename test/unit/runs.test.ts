import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { Run, type RunInit } from '../../src/runs/run.ts'
import { createSplitter } from '../../src/splitter.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** A body in chunks, cut at any bytes. */
function cutUp(whole: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  let start = 0
  for (let turn = 0; start < whole.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? whole.length
    parts.push(whole.slice(start, start + size))
    start += size
  }
  return parts
}

function split(chunks: readonly Uint8Array[]): { events: string[]; rest: string } {
  const splitter = createSplitter()
  const events = chunks
    .flatMap((chunk) => splitter.push(chunk))
    .map((event) => Buffer.from(event).toString('latin1'))
  return { events, rest: Buffer.from(splitter.rest()).toString('latin1') }
}

const line = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => `data: ${text.replace(/[\r\n]/g, '')}`),
  fc.constantFrom(': comment', 'event: x', 'id: 1', 'data', 'data: [DONE]', 'data: é🙂'),
)
const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 })

describe('the splitter', () => {
  test('gives every block with its blank line, whatever the chunks and line ends', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
        lineEnd,
        sizes,
        (blocks, end, cuts) => {
          const expected = blocks.map((lines) => lines.map((text) => text + end).join('') + end)
          const chunks = cutUp(bytesOf(expected.join('')), cuts)
          const { events, rest } = split(chunks)
          const latin = expected.map((text) => Buffer.from(text).toString('latin1'))
          // A CR at the very end may still be half of a CRLF.
          expect([...events, ...(rest ? [rest] : [])]).toEqual(latin)
          if (end !== '\r') expect(rest).toBe('')
        },
      ),
      { numRuns: 500 },
    )
  })

  test('keeps every byte of any body, and cuts it the same way in any chunks', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.array(fc.nat(60)), sizes, (noise, breaks, cuts) => {
        const body = Uint8Array.from(noise)
        for (const place of breaks) if (place < body.length) body[place] = place % 3 ? 10 : 13
        const one = split([body])
        const many = split(cutUp(body, cuts))
        expect(many.events.join('') + many.rest).toBe(Buffer.from(body).toString('latin1'))
        expect(many).toEqual(one)
      }),
      { numRuns: 1_000 },
    )
  })

  test('refuses an event over its limit', () => {
    const splitter = createSplitter()
    const piece = new Uint8Array(1 << 20).fill(97)
    const push = () => Array.from({ length: 9 }, () => splitter.push(piece))
    expect(push).toThrow('An event is over 8388608 bytes')
  })
})

const init: RunInit = {
  id: 'r',
  eventId: 'e',
  owner: { gateway: 'g', credential: null },
  onDisconnect: 'detach',
  raw: false,
  keepBytes: 100,
  windowBytes: 20,
}
const done = { outcome: 'completed', upstreamStopped: true } as const
const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false
  void promise.then(() => {
    settled = true
  })
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
  return settled
}

describe('a run', () => {
  test('is read whole by every reader that follows it', async () => {
    const run = new Run(init)
    const reader = run.read(0)
    const seen: string[] = []
    const reading = (async () => {
      for (let event = await reader.next(); event; event = await reader.next())
        seen.push(`${event.seq}:${textOf(event.bytes)}`)
    })()
    for (const text of ['a', 'b', 'c']) run.append(bytesOf(text))
    run.finish(done)
    run.append(bytesOf('late'))
    run.finish({ outcome: 'failed', upstreamStopped: true })
    await reading
    expect(seen).toEqual(['0:a', '1:b', '2:c'])
    expect(run.terminal).toEqual(done)
  })

  test('keeps its last bytes, and answers a gap for what it did not keep', async () => {
    const run = new Run(init)
    for (let count = 0; count < 30; count += 1) run.append(bytesOf('0123456789'))
    expect(run.keptBytes).toBeLessThanOrEqual(init.keepBytes)
    expect(run.first).toBe(20)
    await expect(run.read(19).next()).rejects.toMatchObject({ code: 'gap' })
    expect((await run.read(20).next())?.seq).toBe(20)
  })

  test('waits for a reader that lags, and for none once all have left', async () => {
    const run = new Run(init)
    const reader = run.read(0)
    for (let count = 0; count < 3; count += 1) run.append(bytesOf('0123456789'))
    const room = run.room()
    expect(await isSettled(room)).toBe(false)
    await reader.next()
    expect(await isSettled(room)).toBe(true)
    run.append(bytesOf('0123456789'))
    const again = run.room()
    expect(await isSettled(again)).toBe(false)
    reader.close()
    expect(await isSettled(again)).toBe(true)
  })

  test('is sent no further than the window after an ack, and nothing is dropped', async () => {
    const run = new Run({ ...init, keepBytes: 0 })
    const reader = run.read(0)
    reader.ack(-1)
    for (let count = 0; count < 6; count += 1) run.append(bytesOf('0123456789'))
    run.finish(done)
    const got = [await reader.next(), await reader.next()]
    const third = reader.next()
    expect(await isSettled(third)).toBe(false)
    reader.ack(0)
    got.push(await third)
    for (let seq = 1; seq < 6; seq += 1) {
      reader.ack(seq)
      got.push(await reader.next())
    }
    expect(got.map((event) => event?.seq)).toEqual([0, 1, 2, 3, 4, 5, undefined, undefined])
  })

  test('that is stopped ends once, with what stopped it', async () => {
    const run = new Run(init)
    run.stop(new GatewayError('client_closed'))
    run.stop(new GatewayError('timeout'))
    expect(run.terminal).toEqual({ outcome: 'cancelled', upstreamStopped: true })
    const started = new Run(init)
    started.start()
    started.stop(new GatewayError('draining'))
    expect(started.signal.aborted).toBe(true)
    expect(started.terminal).toBeUndefined()
    started.finish({ outcome: 'incomplete', upstreamStopped: true })
    expect(started.terminal?.outcome).toBe('incomplete')
  })
})
