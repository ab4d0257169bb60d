import { expect, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { limits } from '../../src/limits.ts'
import { Flight, type Landed } from '../../src/pipeline/flight.ts'
import type { ByteReader, ByteSource } from '../../src/plain.ts'
import type { Call, Ending, Result } from '../../src/types.ts'

const text = (parts: readonly Uint8Array[]): string => Buffer.concat(parts).toString()

/** A provider whose body is what `parts` gives, and that tells how it was read. */
function setUp(
  parts: readonly (string | Uint8Array | Error | Promise<string>)[],
  contentType = 'text/event-stream',
  answer: Promise<unknown> = Promise.resolve(),
) {
  const seen = {
    reads: 0,
    cancelled: 0,
    endings: [] as Ending[],
    landed: [] as Landed[],
    overs: 0,
    signal: undefined as AbortSignal | undefined,
  }
  const reader: ByteReader = {
    async read() {
      const part = await parts[seen.reads++]
      if (part instanceof Error) throw part
      if (part === undefined) return { done: true }
      return { done: false, value: typeof part === 'string' ? Buffer.from(part) : part }
    },
    async cancel() {
      await Promise.resolve()
      seen.cancelled += 1
    },
  }
  const body: ByteSource = { getReader: () => reader, cancel: reader.cancel }
  const watch = {
    read: () => undefined,
    account: () => ({}),
    end: (ending: Ending) => void seen.endings.push(ending),
  }
  const headers = new Headers({ 'content-type': contentType })
  const result: Result = {
    response: { status: 200, statusText: '', ok: true, headers, body },
    step: 0,
    attempts: 1,
    cacheStatus: 'MISS',
    watch,
  }
  const next = async ({ signal }: Call): Promise<Result> => {
    seen.signal = signal
    await answer
    return result
  }
  const flight = new Flight({ signal: new AbortController().signal } as Call, next, {
    landed: (landed) => void seen.landed.push(landed),
    over: () => {
      seen.overs += 1
    },
  })
  const join = async (signal = new AbortController().signal): Promise<ByteReader> =>
    (await flight.join({ signal } as Call)!).response.body!.getReader()
  return { flight, join, seen }
}

async function readAll(reader: ByteReader): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = []
  for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value)
  return parts
}

test('each reads all of it, and the provider is read once', async () => {
  const { join, seen } = setUp(['data: 1\n', '\ndata: 2\n\n', 'data: [DONE]\n\n'])
  const [one, other] = [await join(), await join()]
  const all = 'data: 1\n\ndata: 2\n\ndata: [DONE]\n\n'
  expect(text(await readAll(one))).toBe(all)
  expect(text(await readAll(other))).toBe(all)
  expect(seen).toMatchObject({ reads: 4, endings: [{ outcome: 'completed' }], overs: 1 })
  const [{ body, events }] = seen.landed as [Landed]
  expect([text([body]), events.map(([end]) => end)]).toEqual([all, [9, 18, 32]])
})

test('is not read before it is asked for, and no further', async () => {
  const { join, seen } = setUp(['data: 1\n\n', 'data: 2\n\n'])
  const reader = await join()
  expect(seen.reads).toBe(0)
  await reader.read()
  expect(seen.reads).toBe(1)
})

test.each([
  ['data: {"a":1}\n\ndata: {"b', 'ends inside an event'],
  [new Error('reset'), 'breaks'],
])('one that %j (%s) is whole to nobody, and is not kept', async (last, _) => {
  const { join, seen } = setUp(['data: 1\n\n', last])
  const [one, other] = [await join(), await join()]
  await expect(readAll(one)).rejects.toThrow(GatewayError)
  await expect(readAll(other)).rejects.toThrow(GatewayError)
  expect(seen).toMatchObject({
    endings: [{ outcome: 'incomplete', error: { code: 'provider_failed' } }],
    landed: [],
  })
})

test('stops the provider with the last who leaves, and has stopped it by then', async () => {
  const { flight, join, seen } = setUp(['data: 1\n\n', 'data: 2\n\n'])
  const [one, other] = [await join(), await join()]
  await one.read()
  await one.cancel()
  expect(seen.cancelled).toBe(0)
  expect(text([(await other.read()).value!])).toBe('data: 1\n\n')
  await other.cancel()
  expect(seen.cancelled).toBeGreaterThan(0)
  expect(seen).toMatchObject({ endings: [{ outcome: 'cancelled' }], overs: 1, landed: [] })
  expect(flight.join({ signal: new AbortController().signal } as Call)).toBeUndefined()
})

test('a caller that leaves before there is an answer is told so', async () => {
  const { flight } = setUp(['x'])
  const leaving = new AbortController()
  const joined = flight.join({ signal: leaving.signal } as Call)
  leaving.abort()
  await expect(joined).rejects.toMatchObject({ code: 'client_closed' })
})

test('over what can be kept it goes at the pace of the slowest, and can no longer be joined', async () => {
  const part = new Uint8Array(1 << 20)
  const count = 40
  const { flight, join, seen } = setUp(Array(count).fill(part), 'application/octet-stream')
  const [fast, slow] = [await join(), await join()]
  const held = limits.cacheBodyBytes / part.byteLength
  let read = 0
  const reading = (async () => {
    while (!(await fast.read()).done) read += 1
  })()
  await expect.poll(() => read).toBe(held + 1)
  expect(seen.reads).toBe(held + 1)
  await slow.read()
  await expect.poll(() => read).toBe(held + 2)
  expect(flight.join({ signal: new AbortController().signal } as Call)).toBeUndefined()
  expect(await readAll(slow)).toHaveLength(count - 1)
  await reading
  expect([read, seen.landed]).toEqual([count, []])
})

test('a slow one that leaves holds nobody up', async () => {
  const { join } = setUp(Array(20).fill(new Uint8Array(1 << 20)), 'application/octet-stream')
  const [fast, slow] = [await join(), await join()]
  const reading = readAll(fast)
  await new Promise((resolve) => setTimeout(resolve, 20))
  await slow.cancel()
  expect(await reading).toHaveLength(20)
})

test('one who leaves while a part is awaited reads on no more, and the others do', async () => {
  const hung = Promise.withResolvers<void>()
  const { join, seen } = setUp([hung.promise.then(() => 'data: 1\n\n')])
  const [one, other] = [await join(), await join()]
  const [left, read] = [one.read(), other.read()]
  await one.cancel()
  expect(await left).toEqual({ done: true })
  expect(seen.cancelled).toBe(0)
  hung.resolve()
  expect(text([(await read).value!])).toBe('data: 1\n\n')
})

test('for a caller that has left already no provider is kept waiting', async () => {
  const { flight, seen } = setUp(['x'], 'text/plain', new Promise(() => undefined))
  const joined = flight.join({ signal: AbortSignal.abort() } as Call)
  await expect(joined).rejects.toMatchObject({ code: 'client_closed' })
  expect(seen.signal?.aborted).toBe(true)
})
