import { expect, test } from 'vitest'
import { at, chat, ended, ledger, newKey, post, rawGet, upstream } from '../client.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

/** An item for the emulator's OpenAI wire. */
const item = (control: Control = {}, more: object = {}): object => ({
  provider: 'openai',
  endpoint: 'chat/completions',
  headers: { 'x-upstream': control },
  query: chat('x'),
  ...more,
})

/** `POST /v1/{account}/{gateway}`: routing, retries, and what it does not take. */
export function universalSuite(target: Target): void {
  routeSuite(target)
  retrySuite(target)
  timeoutSuite(target)
  badBodySuite(target)
  prototypeSuite(target)
  sizeSuite(target)
  badEndpointSuite(target)
}

/** The refusal is told in full, and the next request is served. */
async function expectRefused(target: Target, response: Response, status: number, code = 2002): Promise<void> {
  expect([response.status, response.headers.has('cf-aig-request-id')]).toEqual([status, true])
  const { message, ...rest } = (await response.json()) as { message: string }
  const names = { success: false, name: 'AiGatewayError', httpCode: status, internalCode: code }
  expect(rest).toEqual({ ...names, result: [], messages: [], error: [{ code, message }] })
  expect((await post(at(target), item())).status).toBe(200)
}

function routeSuite(target: Target): void {
  test('takes one item, and a list of them', async () => {
    for (const body of [item(), [item()]]) {
      const response = await post(at(target), body)
      expect([response.status, response.headers.get('cf-aig-step')]).toEqual([200, '0'])
    }
  })

  test('takes the event id and what a leaving client means from the headers of the first item', async () => {
    const key = newKey()
    const headers = { 'x-upstream': { key, interval: 10, events: 30 }, 'CF-AIG-Event-Id': 'mine' }
    const first = item(
      {},
      { headers: { ...headers, 'cf-aig-on-disconnect': 'detach' }, query: chat('x', { stream: true }) },
    )
    const other = item({}, { headers: { 'cf-aig-event-id': 'other', 'cf-aig-on-disconnect': 'stop' } })
    const response = await post(at(target), [first, other], { 'cf-aig-event-id': 'outer' })
    expect(response.headers.get('cf-aig-event-id')).toBe('mine')
    await response.body!.cancel()
    expect((await ended(target, key))?.how).toBe('finished')
    const run = await fetch(at(target, `/run/${response.headers.get('cf-aig-run-id')}/resume`))
    expect(await run.text()).toContain('[DONE]')
    const single = await post(at(target), [other, first], { 'cf-aig-event-id': 'outer' })
    expect(single.headers.get('cf-aig-event-id')).toBe('other')
    expect(single.headers.has('cf-aig-run-id')).toBe(false)
  })

  test('falls back in order, and says which step served', async () => {
    const failing = [
      item({ status: 500 }),
      item({ status: 400 }),
      { provider: 'offline', endpoint: 'x', query: {} },
    ]
    const response = await post(at(target), [...failing, item()])
    expect([response.status, response.headers.get('cf-aig-step')]).toEqual([200, '3'])
  })

  test("gives the last provider's answer and step when all fail", async () => {
    const response = await post(at(target), [item({ status: 500 }), item({ status: 418 })])
    expect([response.status, response.headers.get('cf-aig-step')]).toEqual([418, '1'])
    expect(await response.json()).toMatchObject({ error: { message: 'emulated 418' } })
  })

  test('a provider that cannot be had, or speaks no HTTP, is 502 with code 2005 and its step', async () => {
    for (const last of [{ provider: 'offline', endpoint: 'x', query: {} }, item({ garbage: true })]) {
      const response = await post(at(target), [item({ status: 500 }), last])
      expect(response.headers.get('cf-aig-step')).toBe('1')
      await expectRefused(target, response, 502, 2005)
    }
    const offline = await post(at(target), { provider: 'offline', endpoint: 'x', query: {} })
    const told = target.runtime === 'node' || target.runtime === 'bun' ? ' (ECONNREFUSED)' : ''
    expect(await offline.json()).toMatchObject({ message: `Failed to get response from provider${told}` })
  })

  test('carries authorization, odd header values and the query of an endpoint', async () => {
    const key = newKey()
    const headers = {
      'x-upstream': { key },
      'x-number': 7,
      'x-bool': true,
      'x-object': { a: 1 },
      'x-null': null,
    }
    await post(
      at(target),
      item({}, { endpoint: 'v1/echo?api-version=1&b=2', headers, authorization: 'Bearer sk-item' }),
    )
    const [entry] = await ledger(target, key)
    expect(entry?.path).toBe('/openai/echo?api-version=1&b=2')
    const expected = {
      'x-number': '7',
      'x-bool': 'true',
      'x-object': '{"a":1}',
      authorization: 'Bearer sk-item',
    }
    expect(entry?.headers).toMatchObject({ ...expected, 'content-type': 'application/json' })
    expect(entry?.headers).not.toHaveProperty('x-null')
  })
}

function retrySuite(target: Target): void {
  const tries = async (
    statuses: number[],
    more: object = {},
    headers = {},
    gateway = 'default',
  ): Promise<[number, number]> => {
    const key = newKey()
    const own = (more as { headers?: object }).headers
    const body = item({}, { ...more, headers: { ...own, 'x-upstream': { key, statuses } } })
    const response = await post(at(target, '', gateway), body, headers)
    return [response.status, (await ledger(target, key)).length]
  }
  const quick = { retryDelay: 5 }

  test('settings of config win over item headers, those over the request, those over the gateway', async () => {
    const failing = [503]
    const request = { 'cf-aig-max-attempts': '2', 'cf-aig-retry-delay': '5' }
    const ownHeaders = { headers: { 'cf-aig-max-attempts': 4 } }
    expect(await tries(failing)).toEqual([503, 1])
    expect(await tries(failing, {}, {}, 'patient')).toEqual([503, 3])
    expect(await tries(failing, {}, request, 'patient')).toEqual([503, 2])
    expect(await tries(failing, ownHeaders, request, 'patient')).toEqual([503, 4])
    expect(await tries(failing, { ...ownHeaders, config: { maxAttempts: 5 } }, request, 'patient')).toEqual([
      503, 5,
    ])
  })

  test('408, 409, 425, 429 and 5xx are tried again, and what then succeeds is the answer', async () => {
    for (const status of [408, 409, 425, 429, 500, 503]) {
      expect(await tries([status, 200], { config: { ...quick, maxAttempts: 2 } }), String(status)).toEqual([
        200, 2,
      ])
    }
  })

  test('a step is tried as often as it may be before the next one, and another 4xx once', async () => {
    const config = { ...quick, maxAttempts: 3 }
    expect(await tries([503, 503, 200], { config })).toEqual([200, 3])
    for (const status of [503, 400, 401, 404]) {
      const key = newKey()
      const response = await post(at(target), [item({ key, status }, { config }), item()])
      expect([response.status, response.headers.get('cf-aig-step')]).toEqual([200, '1'])
      expect(await ledger(target, key)).toHaveLength(status === 503 ? 3 : 1)
    }
  })

  test('Retry-After is honoured', async () => {
    const control = { key: newKey(), statuses: [429, 200], headers: { 'retry-after': '1' } }
    const began = performance.now()
    const response = await post(at(target), item(control, { config: { ...quick, maxAttempts: 2 } }))
    expect(response.status).toBe(200)
    expect(performance.now() - began).toBeGreaterThan(950)
  })

  test('a pass-through body is held for a retry when it is small, and sent once when it is a stream', async () => {
    const key = newKey()
    const small = await post(
      at(target, '/openai/chat/completions', 'patient'),
      chat('x'),
      upstream({ key, statuses: [503, 200] }),
    )
    expect([small.status, (await ledger(target, key)).length]).toEqual([200, 2])
    const streamKey = newKey()
    const body = new Blob([new Uint8Array(2 << 20)]).stream()
    const headers = upstream({ key: streamKey, statuses: [503, 200] })
    const init = { method: 'POST', body, headers, duplex: 'half' }
    const streamed = await fetch(at(target, '/openai/echo', 'patient'), init)
    expect([streamed.status, (await ledger(target, streamKey)).length]).toEqual([503, 1])
  })
}

function timeoutSuite(target: Target): void {
  const config = { requestTimeout: 150 }
  for (const hang of ['headers', 'body'] as const) {
    test(`a provider silent before its first part (${hang}) is left for the next`, async () => {
      const response = await post(at(target), [item({ hang }, { config }), item()])
      expect([response.status, response.headers.get('cf-aig-step')]).toEqual([200, '1'])
    })
    test(`a provider silent before its first part (${hang}), with none after it, is 504`, async () => {
      const response = await post(at(target), item({ hang }, { config }))
      await expectRefused(target, response, 504, 2005)
    })
  }

  test('a time-out ends with the first part: a slow stream runs on', async () => {
    const query = chat('x', { stream: true })
    const response = await post(at(target), item({ interval: 60, events: 6 }, { config, query }))
    expect(await response.text()).toContain('[DONE]')
  })
}

function badBodySuite(target: Target): void {
  test('refuses a body that is not UTF-8', async () => {
    const [before, after] = JSON.stringify(item({}, { query: { text: '|' } })).split('|')
    const body = Buffer.concat([Buffer.from(before!), Buffer.from([0xff, 0xfe]), Buffer.from(after!)])
    await expectRefused(target, await fetch(at(target), { method: 'POST', body }), 400)
  })

  const bad: [title: string, body: unknown][] = [
    ['no JSON', '{"provider":'],
    ['an empty body', ''],
    ['an empty list', []],
    ['null', null],
    ['a number', 7],
    ['a list of strings', ['x']],
    ['33 items', Array.from({ length: 33 }, () => item())],
    ['no provider', item({}, { provider: undefined })],
    ['no endpoint', item({}, { endpoint: undefined })],
    ['no query', item({}, { query: undefined })],
    ['a number for a provider', item({}, { provider: 7 })],
    ['a list for headers', item({}, { headers: [] })],
    ['a text for config', item({}, { config: 'x' })],
    ['a number for an endpoint', item({}, { endpoint: 7 })],
    ['a number for authorization', item({}, { authorization: 7 })],
    ...[6, 0, 'x'].map((maxAttempts): [string, unknown] => [
      `${maxAttempts} for attempts`,
      item({}, { config: { maxAttempts } }),
    ]),
    ['a back-off that does not exist', item({}, { config: { backoff: 'random' } })],
    ['a setting header that is no number', item({}, { headers: { 'cf-aig-request-timeout': 'soon' } })],
    ['a line break in a header', item({}, { headers: { 'x-a': 'b\r\nx-c: d' } })],
    ['a line break at the end of a header', item({}, { headers: { 'x-a': 'b\r\n' } })],
    ['a line break in a header name', item({}, { headers: { 'x-a\r\nx-b': 'c' } })],
    ['an emoji in a header', item({}, { headers: { 'x-a': '🙂' } })],
    ...['Host', 'connection', 'Content-Length', 'transfer-encoding', 'upgrade'].map(
      (name): [string, unknown] => [`${name} as a header`, item({}, { headers: { [name]: 'x' } })],
    ),
  ]
  for (const [title, body] of bad) {
    test(`${title} is a 400 that names its request`, async () => {
      await expectRefused(target, await post(at(target), body), 400)
    })
  }
}

function prototypeSuite(target: Target): void {
  for (const provider of ['nobody', '__proto__', 'constructor', 'toString']) {
    test(`the provider ${provider} is unknown: 400 with code 2008`, async () => {
      await expectRefused(target, await post(at(target), item({}, { provider })), 400, 2008)
    })
  }

  test('names of the prototype are names like any other', async () => {
    const key = newKey()
    const query = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}},"model":"m"}'
    const headers = `{"__proto__":"x","constructor":"y","x-upstream":{"key":"${key}"}}`
    const response = await post(
      at(target),
      `{"provider":"openai","endpoint":"echo","headers":${headers},"query":${query}}`,
    )
    expect(response.status).toBe(200)
    const [entry] = await ledger(target, key)
    expect([entry?.body, entry?.headers.constructor]).toEqual([query, 'y'])
  })
}

function sizeSuite(target: Target): void {
  test('10 MB pass, and over 32 MiB is 413', async () => {
    const key = newKey()
    const large = await post(
      at(target),
      item({ key }, { endpoint: 'echo', query: { text: 'x'.repeat(10 << 20) } }),
    )
    expect([large.status, (await ledger(target, key))[0]?.bodyBytes]).toEqual([
      200,
      (10 << 20) + '{"text":""}'.length,
    ])
    const huge = await post(at(target), `{"text":"${'x'.repeat(33 << 20)}"}`)
    await expectRefused(target, huge, 413)
  })

  for (const levels of [10_000, 1_000_000]) {
    test(`${levels} levels pass, are a 400, or too much for the provider, and hurt nobody`, async () => {
      const deep = `${'['.repeat(levels)}${']'.repeat(levels)}`
      for (const fields of [`"query":${deep}`, `"query":1,"headers":{"x":${deep}}`]) {
        const response = await post(at(target), `{"provider":"openai","endpoint":"echo",${fields}}`)
        expect([200, 400, 502], fields.slice(0, 24)).toContain(response.status)
        expect((await post(at(target), item())).status).toBe(200)
      }
    })
  }

  test('a Latin-1 header arrives byte for byte, or is a 400', async () => {
    const key = newKey()
    const response = await post(at(target), item({}, { headers: { 'x-upstream': { key }, 'x-a': 'café' } }))
    const got = response.status === 400 || (await ledger(target, key))[0]?.headers['x-a']
    expect([true, 'café']).toContain(got)
  })
}

function badEndpointSuite(target: Target): void {
  const plain = '.. a/../../x %2e%2e/x ..%2fx a/%2E./x //127.0.0.1:1/x https://127.0.0.1:1/x'
  const odd = '\\\\host\\x a%5c..%5cx x#y #frag x?y#z x%00 x%zz ./x'
  const endpoints = [...plain.split(' '), ...odd.split(' '), 'x\r\ny', 'a b']
  for (const endpoint of endpoints) {
    test(`the endpoint ${JSON.stringify(endpoint)} is refused, and reaches nobody`, async () => {
      const key = newKey()
      const response = await post(at(target), item({ key }, { endpoint }))
      await expectRefused(target, response, 400)
      expect(await ledger(target, key)).toEqual([])
    })
  }

  test('a pass-through path never climbs out of its provider', async () => {
    const paths = '%2e%2e/%2e%2e/x %2e%2e/x ../x %2e%2e%2fx ..%5cx //evil/x .%2e/%2e./anthropic/x'
    for (const path of paths.split(' ')) {
      const key = newKey()
      await rawGet(target, `/v1/default/default/openai/${path}`, upstream({ key }))
      for (const { path: seen } of await ledger(target, key)) expect(seen, path).toMatch(/^\/openai\//)
    }
  })
}
