import { AwsClient } from 'aws4fetch'
import { importPKCS8, SignJWT } from 'jose'
import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Runtime, Step } from '../types.ts'
import type { Auth } from './table.ts'

/** A step on its way out. */
export interface Outgoing {
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  readonly body: Step['body']
}

/** What goes out, signed. */
export interface Authorized {
  readonly headers: Headers
  readonly body: Step['body']
}

/** Adds a stored key to a step that brought none of its own. */
export type Authorize = (
  step: Outgoing,
  service: string | undefined,
  fetch: Runtime['fetch'],
  signal: AbortSignal,
) => Promise<Authorized>

/** Headers in which a client may bring its own key; the first is the native one. */
export function credentialHeaders(auth: Auth): readonly string[] {
  return auth.kind === 'header' ? [auth.header, ...(auth.also ?? [])] : ['authorization']
}

/** Make the way of one provider, from its kind and its stored key. */
export function createAuthorize(auth: Auth, key: string | undefined): Authorize {
  switch (auth.kind) {
    case 'header':
      return headerAuth(auth.header, auth.scheme, credentialHeaders(auth), key)
    case 'sigv4':
      return sigv4Auth(key)
    case 'google':
      return googleAuth(key)
    default:
      return auth satisfies never
  }
}

function headerAuth(
  header: string,
  scheme: string | undefined,
  own: readonly string[],
  key: string | undefined,
): Authorize {
  const value = key === undefined ? undefined : scheme ? `${scheme} ${key}` : key
  return async (step) => {
    const headers = new Headers(step.headers)
    if (value !== undefined && !own.some((name) => headers.has(name))) headers.set(header, value)
    return { headers, body: step.body }
  }
}

interface AwsKey {
  accessKeyId: string
  secretAccessKey: string
  region?: string
  sessionToken?: string
}

function sigv4Auth(key: string | undefined): Authorize {
  const stored = key?.trimStart().startsWith('{') ? (parseKey(key) as AwsKey) : undefined
  const client = stored && new AwsClient({ ...stored, retries: 0 })
  return async (step, service = 'bedrock', _fetch, signal) => {
    const headers = new Headers(step.headers)
    if (headers.has('authorization') || key === undefined) return { headers, body: step.body }
    if (!client) {
      if (service === 'bedrock-mantle') headers.set('x-api-key', key)
      else headers.set('authorization', `Bearer ${key}`)
      return { headers, body: step.body }
    }
    const body = step.body instanceof ReadableStream ? await collect(step.body) : step.body
    const { region } = stored
    const signed = await client.sign(step.url.href, {
      method: step.method,
      headers,
      body,
      signal,
      aws: { service, ...(region && !regionOf(step.url) && { region }) },
    })
    return { headers: new Headers(signed.headers), body }
  }
}

/** `bedrock-runtime.eu-west-1.amazonaws.com` → `eu-west-1`. */
const regionOf = (url: URL): string | undefined => /\.([a-z]{2}(-[a-z]+)+-\d)\./.exec(url.hostname)?.[1]

async function collect(body: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  let size = 0
  const measured = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        size += chunk.byteLength
        if (size > limits.bodyBytes)
          controller.error(new GatewayError('too_large', 'A signed body must be held whole'))
        else controller.enqueue(chunk)
      },
    }),
  )
  return new Uint8Array(await new Response(measured).arrayBuffer())
}

interface ServiceAccount {
  client_email: string
  private_key: string
  token_uri?: string
}

const googleTokenUri = 'https://oauth2.googleapis.com/token'
const googleScope = 'https://www.googleapis.com/auth/cloud-platform'
/** Access tokens held at once, per provider. */
const heldTokensMax = 100
const renewEarlyMs = 60_000

/** A token is minted from a service account, stored or sent base64-encoded by the client, and held until it nears its end. */
function googleAuth(key: string | undefined): Authorize {
  const stored = key?.trimStart().startsWith('{') ? (parseKey(key) as ServiceAccount) : undefined
  const held = new Map<string, { token: Promise<string>; until: number }>()

  const tokenOf = (account: ServiceAccount, uri: string, fetch: Runtime['fetch']): Promise<string> => {
    const id = `${account.client_email} ${account.private_key}`
    const found = held.get(id)
    if (found && found.until > Date.now()) return found.token
    if (held.size >= heldTokensMax) held.clear()
    const entry = { until: Date.now() + 60_000, token: Promise.resolve('') }
    // Not bound to the caller's signal: others may be waiting for the same token.
    entry.token = mint(account, uri, fetch).then(({ token, seconds }) => {
      entry.until = Date.now() + seconds * 1_000 - renewEarlyMs
      return token
    })
    entry.token.catch(() => held.delete(id))
    held.set(id, entry)
    return entry.token
  }

  return async (step, _service, fetch) => {
    const headers = new Headers(step.headers)
    const given = headers.get('authorization')?.replace(/^Bearer\s+/i, '')
    const account = given === undefined ? stored : sentAccount(given)
    if (account) {
      // Only the operator may name another host for the exchange.
      const uri = account === stored ? (account.token_uri ?? googleTokenUri) : googleTokenUri
      headers.set('authorization', `Bearer ${await tokenOf(account, uri, fetch)}`)
    } else if (given === undefined && key !== undefined) headers.set('authorization', `Bearer ${key}`)
    return { headers, body: step.body }
  }
}

/** A client's bearer is a service account when it is base64 of a JSON object that has one's fields. */
function sentAccount(bearer: string): ServiceAccount | undefined {
  try {
    const value: unknown = JSON.parse(atob(bearer))
    return typeof value === 'object' && value !== null && 'client_email' in value && 'private_key' in value
      ? (value as ServiceAccount)
      : undefined
  } catch {
    return undefined // an access token, then
  }
}

/** Service account to access token (RFC 7523, 2.1). */
async function mint(
  account: ServiceAccount,
  uri: string,
  fetch: Runtime['fetch'],
): Promise<{ token: string; seconds: number }> {
  const failure = new GatewayError(
    'provider_failed',
    'Google did not exchange the service account for a token',
  )
  try {
    const assertion = await new SignJWT({ scope: googleScope })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
      .setIssuer(account.client_email)
      .setAudience(uri)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(await importPKCS8(account.private_key, 'RS256'))
    const body = new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion })
    const response = await fetch(
      new Request(uri, { method: 'POST', body, redirect: 'manual', signal: AbortSignal.timeout(10_000) }),
    )
    const answer = (await response.json()) as { access_token?: string; expires_in?: number }
    if (!response.ok || !answer.access_token) throw failure
    return { token: answer.access_token, seconds: answer.expires_in ?? 3_600 }
  } catch {
    throw failure // whose cause may quote the key
  }
}

/** A stored key that is JSON. Its text is never quoted. */
function parseKey(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new TypeError('a stored provider key begins like JSON and is not')
  }
}
