import { createHash } from 'node:crypto'
import { type IncomingMessage, request } from 'node:http'
import { expect, test } from 'vitest'
import { table } from '../../src/providers/table.ts'
import { at, chat, ledger, newKey, post, upstream } from '../client.ts'
import type { Target } from '../target.ts'

/** What the emulator's echo says. */
interface Echo {
  readonly headers: Readonly<Record<string, string>>
  readonly bodySha256: string
}

/** An answer and how it ended, as a bare socket client sees it; status 0 is none at all. */
interface RawAnswer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly ending: 'whole' | 'broken'
}

const fiveMegabytes = 5_000_000
const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')
/** The emulator's endless 0…255, cut to a length. */
const pattern = (length: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length }, (_, index) => index)
const echoOf = async (response: Response): Promise<Echo> => (await response.json()) as Echo

/** A request with any headers at all, and its answer, whole or broken. */
function raw(url: string, method: string, headers: Record<string, string>, body = ''): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const sent = request(url, { method, headers, agent: false })
    const parts: string[] = []
    let answer: IncomingMessage | undefined
    const settle = (ending: RawAnswer['ending']): void =>
      resolve({
        status: answer?.statusCode ?? 0,
        headers: answer?.headers ?? {},
        text: parts.join(''),
        ending,
      })
    sent.on('error', () => settle('broken'))
    sent.on('response', (response) => {
      answer = response
      response.setEncoding('utf8').on('data', (chunk: string) => parts.push(chunk))
      response.on('error', () => settle('broken'))
      response.on('end', () => settle(response.complete ? 'whole' : 'broken'))
    })
    sent.end(body)
  })
}

/** Everything a client may ask of the gateway over plain HTTP. */
export function httpSuite(target: Target): void {
  healthTests(target)
  bodyTests(target)
  methodTests(target)
  requestHeaderTests(target)
  responseHeaderTests(target)
  errorTests(target)
  providerAnswerTests(target)
  tableTests(target)
  streamTests(target)
}

function healthTests(target: Target): void {
  test('health answers 200 with its status', async () => {
    const response = await fetch(`${target.url}/health`)
    expect([response.status, await response.json()]).toEqual([
      200,
      { status: 'ok', logs: { status: 'ok', lost: 0, waiting: expect.any(Number) } },
    ])
  })
}

function bodyTests(target: Target): void {
  test('the bytes of a JSON body arrive untouched, odd spaces and all', async () => {
    const key = newKey()
    const body = '{ "b" :1.0,\n\t"a": "\\u00e9é" , "b": 2e0,  "n": 12345678901234567890 }\n '
    const response = await post(at(target, '/openai/echo'), body, upstream({ key }))
    expect((await echoOf(response)).bodySha256).toBe(sha256(body))
    const [entry] = await ledger(target, key)
    expect(entry?.body).toBe(body)
    expect(entry?.headers['content-type']).toBe('application/json')
  })

  test('a multipart form with a file arrives untouched', async () => {
    const key = newKey()
    const form = new FormData()
    form.set('model', 'whisper')
    form.set('file', new Blob([pattern(100_000)], { type: 'audio/wav' }), 'a.wav')
    const made = new Request('http://form/', { method: 'POST', body: form })
    const type = made.headers.get('content-type') ?? ''
    const body = new Uint8Array(await made.arrayBuffer())
    const headers = { ...upstream({ key }), 'content-type': type }
    const response = await fetch(at(target, '/openai/echo'), { method: 'POST', body, headers })
    expect(await echoOf(response)).toMatchObject({ bodyBytes: body.length, bodySha256: sha256(body) })
    expect((await ledger(target, key))[0]?.headers['content-type']).toBe(type)
  })

  test('five megabytes of binary reach the provider, whole and in order', async () => {
    const body = pattern(fiveMegabytes)
    const headers = { 'content-type': 'application/octet-stream' }
    const response = await fetch(at(target, '/openai/echo'), { method: 'POST', body, headers })
    expect(await echoOf(response)).toMatchObject({ bodyBytes: fiveMegabytes, bodySha256: sha256(body) })
  })

  test('five megabytes of binary reach the client, whole and in order', async () => {
    const response = await post(at(target, '/openai/echo'), {}, upstream({ bytes: fiveMegabytes }))
    const bytes = new Uint8Array(await response.arrayBuffer())
    expect([bytes.length, sha256(bytes)]).toEqual([fiveMegabytes, sha256(pattern(fiveMegabytes))])
  })
}

function methodTests(target: Target): void {
  test('a GET goes through with its query as it was written', async () => {
    const query = '?q=a%20b&empty=&q=%2Fc&plus=a+b'
    const response = await fetch(at(target, `/openai/echo/files${query}`))
    expect(await response.json()).toMatchObject({ method: 'GET', path: `/openai/echo/files${query}` })
  })

  test('a DELETE goes through', async () => {
    const response = await fetch(at(target, '/openai/echo/9'), { method: 'DELETE' })
    expect(await response.json()).toMatchObject({ method: 'DELETE', path: '/openai/echo/9' })
  })

  test('a HEAD goes through as a HEAD, and its answer has no body', async () => {
    const key = newKey()
    const response = await fetch(at(target, '/openai/echo'), { method: 'HEAD', headers: upstream({ key }) })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('')
    expect((await ledger(target, key)).map(({ method }) => method)).toEqual(['HEAD'])
  })
}

function requestHeaderTests(target: Target): void {
  const personal = {
    cookie: 'session=1',
    forwarded: 'for=192.0.2.1',
    'x-forwarded-for': '192.0.2.1',
    'x-forwarded-host': 'inner.example',
    'x-real-ip': '192.0.2.1',
    'cf-connecting-ip': '192.0.2.1',
    'cf-ray': 'ray',
    'cf-aig-event-id': 'event',
    'cf-aig-metadata': '{"a":1}',
    'cf-aig-unheard-of': 'x',
  }
  const hops = { 'x-hop': '1', 'keep-alive': 'timeout=5', 'proxy-authorization': 'Basic x', te: 'trailers' }

  test('what is the client’s own, or the gateway’s, does not reach the provider', async () => {
    const { text } = await raw(at(target, '/openai/echo'), 'GET', personal)
    const { headers } = JSON.parse(text) as Echo
    expect(Object.keys(personal).filter((name) => name in headers)).toEqual([])
  })

  test('hop-by-hop headers, those named by Connection included, do not reach the provider', async () => {
    const sent = { ...hops, connection: 'close, x-hop' }
    const { text } = await raw(at(target, '/openai/echo'), 'GET', sent)
    const { headers } = JSON.parse(text) as Echo
    expect(Object.keys(hops).filter((name) => name in headers)).toEqual([])
    expect(headers.connection ?? '').not.toContain('x-hop')
    expect(headers.host).toBe(new URL(target.upstream).host)
  })

  test('authorization and custom headers reach the provider as they are', async () => {
    const sent = { authorization: 'Bearer sk-mine', 'x-custom': 'One, two', 'openai-beta': 'assistants=v2' }
    const { headers } = await echoOf(await post(at(target, '/openai/echo'), {}, sent))
    expect(headers).toMatchObject(sent)
  })
}

function responseHeaderTests(target: Target): void {
  test('a compressed answer is readable, without its coding and the provider’s cookies', async () => {
    const headers = { 'set-cookie': 'a=1', 'x-ratelimit-left': '7', 'cf-ray': 'theirs' }
    const sent = upstream({ gzip: true, headers })
    const answer = await raw(at(target, '/openai/echo'), 'POST', sent, '{}')
    expect(JSON.parse(answer.text)).toMatchObject({ method: 'POST', path: '/openai/echo' })
    expect(answer).toMatchObject({ ending: 'whole', headers: { 'x-ratelimit-left': '7' } })
    for (const name of ['set-cookie', 'content-encoding', 'cf-ray'])
      expect(answer.headers).not.toHaveProperty(name)
  })

  test('an answer names its event as the client did', async () => {
    const response = await post(at(target, '/openai/echo'), {}, { 'cf-aig-event-id': 'my-event' })
    expect(response.headers.get('cf-aig-event-id')).toBe('my-event')
    expect(response.headers.get('cf-aig-request-id')).toMatch(uuidV7)
  })

  test('an answer names event and request with UUIDs of version 7, the step, and the cache’s part', async () => {
    const { headers } = await post(at(target, '/openai/echo'), {})
    expect(headers.get('cf-aig-event-id')).toMatch(uuidV7)
    expect(headers.get('cf-aig-request-id')).toMatch(uuidV7)
    expect(headers.get('cf-aig-step')).toBe('0')
    expect(headers.get('cf-aig-cache-status')).toBe('MISS')
  })
}

function errorTests(target: Target): void {
  const cases: readonly [string, string, string, number, number][] = [
    ['an unknown gateway', 'POST', '/v1/default/nowhere/openai/echo', 400, 2001],
    ['an unknown gateway’s universal path', 'POST', '/v1/default/nowhere', 400, 2001],
    ['an unknown account', 'POST', '/v1/someone/default/openai/echo', 400, 2001],
    ['an unknown provider', 'POST', '/v1/default/default/nobody/echo', 400, 2008],
    ['the provider __proto__', 'POST', '/v1/default/default/__proto__/echo', 400, 2008],
    ['the provider constructor', 'POST', '/v1/default/default/constructor/echo', 400, 2008],
    ['an unknown route', 'POST', '/v2/default', 404, 7000],
    ['a PUT on the universal path', 'PUT', '/v1/default/default', 405, 7001],
    ['a GET without upgrade on the universal path', 'GET', '/v1/default/default', 426, 2002],
  ]
  test.each(cases)('%s is answered with the exact error envelope', async (_, method, path, status, code) => {
    const response = await fetch(target.url + path, { method, ...(method !== 'GET' && { body: '{}' }) })
    const body = (await response.json()) as { message: string }
    const { message } = body
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(response.headers.get('cf-aig-request-id')).toMatch(uuidV7)
    expect(message).toMatch(/\S/)
    expect(body).toEqual({
      success: false,
      result: [],
      messages: [],
      error: [{ code, message }],
      name: 'AiGatewayError',
      httpCode: status,
      internalCode: code,
      message,
    })
  })
}

function providerAnswerTests(target: Target): void {
  test('a provider’s redirect is handed to the client and not followed', async () => {
    const headers = upstream({ redirect: 'http://127.0.0.1:9/' })
    const response = await fetch(at(target, '/openai/echo'), { headers, redirect: 'manual' })
    expect([response.status, response.headers.get('location')]).toEqual([302, 'http://127.0.0.1:9/'])
  })

  test.each([400, 418, 429, 500, 503])('a provider’s status %i and its body pass through', async (status) => {
    const path = '/openai/chat/completions'
    const headers = upstream({ status, headers: { 'retry-after': '1' } })
    const direct = await post(target.upstream + path, chat('hi'), headers)
    const response = await post(at(target, path), chat('hi'), headers)
    expect(response.status).toBe(status)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(await response.text()).toBe(await direct.text())
  })
}

function tableTests(target: Target): void {
  const vertex = 'v1/projects/p/locations/us-east1/echo:run'
  const special: Readonly<Record<string, readonly [string, string]>> = {
    'azure-openai': ['res/dep/echo', 'deployments/dep/echo'],
    'aws-bedrock': ['bedrock-runtime/us-east-1/model/x/invoke', 'model/x/invoke'],
    'google-vertex-ai': [vertex, vertex],
    baseten: ['model/abc', 'production/predict'],
  }
  test.each(Object.keys(table))('%s is reached under its own base URL', async (slug) => {
    const [path, expected] = special[slug] ?? ['echo/x', 'echo/x']
    const response = await post(at(target, `/${slug}/${path}`), {})
    expect(await response.json()).toMatchObject({ path: `/${slug}/${expected}` })
  })

  const spellings = [
    ['openai', 'chat/completions', 'v1/chat/completions'],
    ['groq', 'chat/completions', 'openai/v1/chat/completions'],
    ['anthropic', 'messages', 'v1/messages'],
  ] as const
  test.each(spellings)('%s takes %s and %s for the same', async (slug, short, long) => {
    for (const path of [short, long]) {
      const key = newKey()
      await (await post(at(target, `/${slug}/${path}`), chat('hi'), upstream({ key }))).text()
      expect((await ledger(target, key)).map((entry) => entry.path)).toEqual([`/${slug}/${short}`])
    }
  })
}

function streamTests(target: Target): void {
  const path = '/openai/chat/completions'
  const body = JSON.stringify(chat('one two three', { stream: true }))

  test.each([{}, { crlf: true }, { comments: true }, { noDone: true }, { malformed: true }])(
    'a stream’s bytes are those of the provider: %o',
    async (control) => {
      const direct = await post(target.upstream + path, body, upstream(control))
      const response = await post(at(target, path), body, upstream(control))
      expect(response.headers.get('content-type')).toBe('text/event-stream')
      expect(await response.text()).toBe(await direct.text())
    },
  )

  test.each([{ cut: 0 }, { cut: 2 }, { reset: 0 }, { reset: 2 }])(
    'a stream the provider breaks off looks broken to the client, never ended: %o',
    async (control) => {
      const headers = { 'content-type': 'application/json', ...upstream({ interval: 50, ...control }) }
      const { text, ending } = await raw(at(target, path), 'POST', headers, body)
      expect(ending).toBe('broken')
      expect(text.match(/^data: .*\n\n/gm) ?? []).toHaveLength(control.cut ?? control.reset)
    },
  )
}
