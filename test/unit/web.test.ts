import { expect, test } from 'vitest'
import type { ByteReader, PlainResponse } from '../../src/plain.ts'
import { fromWebResponse, toWebRequest, toWebResponse, WebRequest } from '../../src/web.ts'

/** A response whose body comes in these parts; an error breaks it off. */
function responseOf(length: number | undefined, parts: readonly (string | Error)[]) {
  let reads = 0
  const reader: ByteReader = {
    async read() {
      const part = parts[reads++]
      if (part instanceof Error) throw part
      return part === undefined ? { done: true } : { done: false, value: Buffer.from(part) }
    },
    cancel: async () => undefined,
  }
  const headers = new Headers(length === undefined ? {} : { 'content-length': String(length) })
  const body = { getReader: () => reader, cancel: reader.cancel }
  const response: PlainResponse = { status: 200, statusText: '', ok: true, headers, body }
  return { response, reads: () => reads }
}

test('a short body is read to its end before it is sent', async () => {
  const { response, reads } = responseOf(4, ['abcd'])
  const sent = await toWebResponse(response)
  expect(reads()).toBe(2)
  expect(await sent.text()).toBe('abcd')
})

test.each([
  ['comes in parts', 4, ['ab', 'cd']],
  ['says no length', undefined, ['abcd']],
  ['is long', 100_000, ['x'.repeat(50_000), 'y'.repeat(50_000)]],
] as const)('a body that %s is a stream', async (_, length, parts) => {
  const { response } = responseOf(length, parts)
  expect(await (await toWebResponse(response)).text()).toBe(parts.join(''))
})

test.each([
  ['before its first part', [new Error('reset')]],
  ['between its parts', ['ab', new Error('reset')]],
  ['behind all of it', ['abcd', new Error('reset')]],
] as const)('a body that breaks off %s does so for its reader as well', async (_, parts) => {
  const sent = await toWebResponse(responseOf(4, parts).response)
  expect(sent.status).toBe(200)
  await expect(sent.text()).rejects.toThrow('reset')
})

test.each(['GET', 'POST'])('a request of %s is given as it came', async (method) => {
  const body = method === 'GET' ? null : 'abc'
  const source = new Request('http://x/y', { method, body, headers: body ? { 'content-length': '3' } : {} })
  const request = new WebRequest(source)
  expect([request.method, request.url, toWebRequest(request)]).toEqual([method, 'http://x/y', source])
  const part = await request.body?.getReader().read()
  expect(part?.value && Buffer.from(part.value).toString()).toBe(body ?? undefined)
})

test('a body that is left unread is cancelled, and one that was read ends', async () => {
  let isCancelled = false
  const stream = new ReadableStream({
    cancel() {
      isCancelled = true
    },
  })
  const headers = { 'content-length': '3' }
  await fromWebResponse(new Response(stream, { headers })).body?.cancel()
  expect(isCancelled).toBe(true)
  const reader = fromWebResponse(new Response('abc', { headers })).body!.getReader()
  expect((await reader.read()).value).toHaveLength(3)
  await reader.cancel()
  expect(await reader.read()).toEqual({ done: true })
})

test('what a coding makes longer than it says is not taken whole', () => {
  const headers = { 'content-length': '3', 'content-encoding': 'gzip' }
  const response = new Response('abc', { headers })
  expect(fromWebResponse(response)).toBe(response)
})
