import { exportPKCS8, exportSPKI, generateKeyPair, importSPKI, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ProviderSettings } from '../../src/config.ts'
import { limits } from '../../src/limits.ts'
import { createAuthorize } from '../../src/providers/auth.ts'
import { createProviders, type Provider } from '../../src/providers/providers.ts'
import { providers as rows, table } from '../../src/providers/table.ts'
import type { Runtime, Step } from '../../src/types.ts'

const never: Runtime['fetch'] = () => Promise.reject(new Error('nothing may be fetched'))
const { signal } = new AbortController()

interface Asked {
  path?: string
  headers?: Record<string, string>
  body?: Step['body']
  fetch?: Runtime['fetch']
  signal?: AbortSignal
}

const provider = (slug: string, own: ProviderSettings = {}, env: Record<string, string> = {}): Provider =>
  createProviders({ [slug]: own }, env, rows).get(slug)!

/** The headers that go out, of a request as `send` makes it. */
async function sent(from: Provider, asked: Asked = {}): Promise<Record<string, string>> {
  const headers = new Headers(asked.headers)
  const url = from.resolve(asked.path ?? 'x', '', headers)
  const request = { method: 'POST', url, headers, body: asked.body ?? '{}' }
  const authorized = await from.authorize(request, asked.fetch ?? never, asked.signal ?? signal)
  return Object.fromEntries(authorized.headers)
}

describe('a key in a header', () => {
  const placed: [slug: string, header: string, value: string][] = [
    ['openai', 'authorization', 'Bearer k'],
    ['anthropic', 'x-api-key', 'k'],
    ['azure-openai', 'api-key', 'k'],
    ['cartesia', 'x-api-key', 'k'],
    ['deepgram', 'authorization', 'Token k'],
    ['elevenlabs', 'xi-api-key', 'k'],
    ['fal', 'authorization', 'Key k'],
    ['google-ai-studio', 'x-goog-api-key', 'k'],
    ['ideogram', 'api-key', 'k'],
    ['parallel', 'x-api-key', 'k'],
  ]
  test.each(placed)('%s is sent its stored key as %s: %s', async (slug, header, value) => {
    const path = 'res/dep/x'
    expect(await sent(provider(slug, { api_key: 'k' }), { path })).toEqual({ [header]: value })
    expect(await sent(provider(slug, {}, { [table[slug]!.env!]: 'k' }), { path })).toEqual({
      [header]: value,
    })
    expect(await sent(provider(slug), { path })).toEqual({})
  })

  test.each(placed)("%s is sent the client's own key untouched, and no other", async (slug) => {
    const made = provider(slug, { api_key: 'stored' })
    for (const name of made.credentialHeaders) {
      const headers = { [name]: 'Odd  own' }
      expect(await sent(made, { path: 'res/dep/x', headers })).toEqual(headers)
    }
  })

  test('a key of the environment goes to the own host only', async () => {
    const env = Object.fromEntries(Object.values(table).map((row) => [row.env ?? 'NONE', 'env-key']))
    for (const slug of Object.keys(table)) {
      const moved = provider(slug, { base_url: 'http://elsewhere.example' }, env)
      expect(await sent(moved, { path: 'a/b/c' }), slug).toEqual({})
      const keyed = provider(slug, { base_url: 'http://elsewhere.example', api_key: 'own-key' }, env)
      expect(JSON.stringify(await sent(keyed, { path: 'a/b/c' })), slug).toMatch(/own-key/)
    }
  })

  test('settings name another header, another scheme, and fixed headers', async () => {
    const row = { base_url: 'http://h', api_key: 'k' }
    expect(await sent(provider('mine', row))).toEqual({ authorization: 'Bearer k' })
    expect(await sent(provider('mine', { ...row, auth_header: 'X-Key' }))).toEqual({ 'x-key': 'k' })
    expect(await sent(provider('mine', { ...row, auth_scheme: 'Token' }))).toEqual({
      authorization: 'Token k',
    })
    expect(await sent(provider('mine', { ...row, auth_scheme: '' }))).toEqual({ authorization: 'k' })
    const both = { ...row, auth_header: 'X-Key', auth_scheme: 'Key', headers: { 'X-Fixed': 'yes' } }
    expect(await sent(provider('mine', both))).toEqual({ 'x-key': 'Key k', 'x-fixed': 'yes' })
    expect(provider('mine', both).credentialHeaders).toEqual(['x-key'])
  })

  test('headers are fresh each time, and the target header stays here', async () => {
    const headers = new Headers({ 'x-fal-target-url': 'https://queue.fal.run/x' })
    const made = provider('fal', { api_key: 'k' })
    const request = { method: 'POST', url: made.resolve('', '', headers), headers, body: null }
    const first = await made.authorize(request, never, signal)
    expect(Object.fromEntries(first.headers)).toEqual({ authorization: 'Key k' })
    expect((await made.authorize(request, never, signal)).headers).not.toBe(first.headers)
    expect(headers.has('authorization')).toBe(false)
  })
})

describe('AWS', () => {
  const accessKeyId = 'AKIDEXAMPLE'
  const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
  const stored = (more: object = {}): string => JSON.stringify({ accessKeyId, secretAccessKey, ...more })
  const path = 'bedrock-runtime/us-west-2/model/anthropic.claude-3%3A0/invoke'
  const mantle = 'bedrock-mantle/eu-west-1/anthropic/v1/messages'
  const bedrock = (api_key: string): Provider => provider('aws-bedrock', { api_key })

  beforeEach(() => void vi.useFakeTimers({ now: Date.UTC(2015, 7, 30, 12, 36, 0), toFake: ['Date'] }))
  afterEach(() => void vi.useRealTimers())

  test("signs AWS's published example (get-vanilla of its Signature Version 4 test suite)", async () => {
    const authorize = createAuthorize(
      { kind: 'sigv4', services: ['service'] },
      stored({ region: 'us-east-1' }),
    )
    const url = new URL('https://example.amazonaws.com/')
    const { headers } = await authorize(
      { method: 'GET', url, headers: new Headers(), body: null },
      never,
      signal,
    )
    expect(headers.get('x-amz-date')).toBe('20150830T123600Z')
    expect(headers.get('authorization')).toBe(
      'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ' +
        'SignedHeaders=host;x-amz-date, ' +
        'Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    )
  })

  test("signs for the host's region and service, whatever region is stored", async () => {
    const made = bedrock(stored({ region: 'us-east-1', sessionToken: 'st' }))
    const runtime = await sent(made, {
      path,
      headers: { 'user-agent': 'x', 'x-amz-date': 'odd', 'x-amz-extra': '1' },
    })
    expect(runtime['x-amz-security-token']).toBe('st')
    expect(runtime.authorization).toContain('/20150830/us-west-2/bedrock/aws4_request, ')
    expect(runtime.authorization).toContain(
      'SignedHeaders=host;x-amz-date;x-amz-extra;x-amz-security-token, ',
    )
    const other = await sent(made, { path: mantle })
    expect(other.authorization).toContain('/20150830/eu-west-1/bedrock-mantle/aws4_request, ')
  })

  test('the same request has the same signature, another body another', async () => {
    const made = bedrock(stored())
    const of = async (body: Step['body']) => (await sent(made, { path, body })).authorization
    expect(await of('{"a":1}')).toBe(await of(new TextEncoder().encode('{"a":1}')))
    expect(await of('{"a":1}')).not.toBe(await of('{"a":2}'))
  })

  const streamOf = (...sizes: number[]): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start(controller) {
        for (const size of sizes) controller.enqueue(new Uint8Array(size))
        controller.close()
      },
    })
  const send = (body: ReadableStream<Uint8Array>, own: AbortSignal = signal) => {
    const made = bedrock(stored())
    const url = made.resolve(path, '', new Headers())
    return made.authorize({ method: 'POST', url, headers: new Headers(), body }, never, own)
  }

  test('a stream is held to be signed, up to the limit', async () => {
    expect((await send(streamOf(3, 4))).body).toEqual(new Uint8Array(7))
    await expect(send(streamOf(limits.bodyBytes, 1))).rejects.toMatchObject({ code: 'too_large' })
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('gone')) })
    await expect(send(broken)).rejects.toMatchObject({ code: 'client_closed' })
  })

  test('a stream that does not end is given up with the caller', async () => {
    const cancel = vi.fn()
    const leave = new AbortController()
    const answer = send(new ReadableStream({ cancel }), leave.signal)
    leave.abort(new Error('left'))
    await expect(answer).rejects.toThrow('left')
    expect(cancel).toHaveBeenCalledOnce()
  })

  test("a client's own signature passes untouched", async () => {
    const headers = { authorization: 'AWS4-HMAC-SHA256 Credential=x', 'x-amz-date': 'd' }
    expect(await sent(bedrock(stored()), { path, headers })).toEqual(headers)
    expect(await sent(bedrock(stored()), { path: mantle, headers })).toEqual(headers)
  })

  test("a Bedrock API key is a bearer, and x-api-key on mantle's Anthropic surface", async () => {
    expect(await sent(bedrock('bk'), { path })).toEqual({ authorization: 'Bearer bk' })
    expect(await sent(bedrock('bk'), { path: mantle })).toEqual({ 'x-api-key': 'bk' })
    const headers = { authorization: 'Bearer mine' }
    expect(await sent(bedrock('bk'), { path: mantle, headers })).toEqual({ 'x-api-key': 'mine' })
    expect(await sent(bedrock('bk'), { path: 'bedrock-mantle/eu-west-1/v1/models', headers })).toEqual(
      headers,
    )
  })

  test.each(['{"accessKeyId":"s3cret"}', '{s3cret'])(
    'a stored key %s is refused at the start, unquoted',
    (key) => {
      expect(() => bedrock(key)).toThrow(/^providers\.aws-bedrock: (?!.*s3cret)/)
    },
  )
})

describe('Google', async () => {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const verifier = await importSPKI(await exportSPKI(publicKey), 'RS256')
  const file = { client_email: 'sa@p.iam.example', private_key: await exportPKCS8(privateKey) }
  const path = 'v1/projects/p/locations/us-east4/x'
  const asBearer = (value: object): Record<string, string> => ({
    authorization: `Bearer ${btoa(JSON.stringify(value))}`,
  })
  const stored = (more: object = {}): Provider =>
    provider('google-vertex-ai', { api_key: JSON.stringify({ ...file, ...more }) })

  /** A token endpoint that checks what it is sent; tokens are numbered. */
  function createGoogle(answer: { status?: number; expires_in?: number } = {}) {
    const asked: string[] = []
    const fetch: Runtime['fetch'] = async (request) => {
      asked.push(request.url.href)
      const form = new URLSearchParams(String(request.body))
      const { payload } = await jwtVerify(form.get('assertion')!, verifier, { audience: request.url.href })
      expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
      expect([payload.iss, payload.scope, payload.exp! - payload.iat!]).toEqual([
        file.client_email,
        'https://www.googleapis.com/auth/cloud-platform',
        3600,
      ])
      const { status = 200, expires_in = 3600 } = answer
      return Response.json({ access_token: `at-${asked.length}`, expires_in }, { status })
    }
    return { asked, fetch }
  }

  afterEach(() => void vi.useRealTimers())

  test('a stored account is exchanged once for many callers, and again 60 s before the end', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const { asked, fetch } = createGoogle()
    const made = stored()
    const first = await Promise.all([1, 2, 3].map(() => sent(made, { path, fetch })))
    expect(first).toEqual(Array(3).fill({ authorization: 'Bearer at-1' }))
    vi.advanceTimersByTime(3_539_000)
    expect(await sent(made, { path, fetch })).toEqual({ authorization: 'Bearer at-1' })
    vi.advanceTimersByTime(1_000)
    expect(await sent(made, { path, fetch })).toEqual({ authorization: 'Bearer at-2' })
    expect(asked).toEqual(['https://oauth2.googleapis.com/token', 'https://oauth2.googleapis.com/token'])
  })

  test('a stored account may name its own token host and escape its line breaks twice, a client may not', async () => {
    const { asked, fetch } = createGoogle()
    const token_uri = 'https://tokens.example/t'
    const private_key = file.private_key.replaceAll('\n', '\\n')
    await sent(stored({ token_uri, private_key }), { path, fetch })
    const headers = asBearer({ ...file, token_uri, region: 'us-east4' })
    const client = await sent(provider('google-vertex-ai'), { path, fetch, headers })
    expect(client).toEqual({ authorization: 'Bearer at-2' })
    expect(asked).toEqual([token_uri, 'https://oauth2.googleapis.com/token'])
  })

  test("a client's account opens no token held for another with its e-mail address", async () => {
    const { fetch } = createGoogle()
    const made = stored()
    await sent(made, { path, fetch })
    const other = await generateKeyPair('RS256', { extractable: true })
    const headers = asBearer({ ...file, private_key: await exportPKCS8(other.privateKey) })
    await expect(sent(made, { path, fetch, headers })).rejects.toMatchObject({ code: 'provider_failed' })
  })

  test.each(['Bearer ya29.token', 'Bearer abcd', `Bearer ${btoa('{"a":1}')}`])(
    "a client's token passes untouched: %s",
    async (authorization) => {
      expect(await sent(stored(), { path, headers: { authorization } })).toEqual({ authorization })
    },
  )

  test('failures are named without a secret, and are not held', async () => {
    const { asked, fetch } = createGoogle({ status: 400 })
    const made = stored()
    for (let tries = 1; tries <= 2; tries += 1) {
      await expect(sent(made, { path, fetch })).rejects.toMatchObject({
        code: 'provider_failed',
        message: 'The service account got no access token: status 400',
      })
    }
    expect(asked).toHaveLength(2)
    const message = "The service account's private key cannot be used"
    const headers = asBearer({ ...file, private_key: 's3cret' })
    await expect(sent(made, { path, headers })).rejects.toMatchObject({ code: 'bad_request', message })
    const bad = sent(stored({ private_key: 's3cret' }), { path })
    await expect(bad).rejects.toMatchObject({ code: 'provider_failed', message })
  })

  test('a caller that leaves does not take the token from the others', async () => {
    const { fetch } = createGoogle()
    let open = (): void => undefined
    const gate = new Promise<void>((done) => {
      open = done
    })
    const slow: Runtime['fetch'] = (request, signal) => gate.then(() => fetch(request, signal))
    const leave = new AbortController()
    const made = stored()
    const leaver = sent(made, { path, fetch: slow, signal: leave.signal })
    const stayer = sent(made, { path, fetch: slow })
    leave.abort(new Error('left'))
    await expect(leaver).rejects.toThrow('left')
    open()
    expect(await stayer).toEqual({ authorization: 'Bearer at-1' })
  })
})
