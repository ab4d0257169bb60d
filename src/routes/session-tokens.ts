import * as z from 'zod/mini'
import { GatewayError } from '../errors.ts'
import { sha256 } from '../hash.ts'
import { newId } from '../ids.ts'
import type { Grant } from '../types.ts'
import type { Token, Tokens } from './tokens.ts'

const type = 'trunkline-session+jwt'
/** Seconds; the longest life, and the one that holds where none is asked for. */
const lifetimeMax = 3_600
const lifetimeDefault = 600
const listMax = 64
/** Anything else cannot be one, and is not looked into. */
const shape = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/

const list = z.optional(
  z.array(z.string().check(z.minLength(1), z.maxLength(256))).check(z.minLength(1), z.maxLength(listMax)),
)
const limits = {
  origins: list,
  providers: list,
  models: list,
  endpoints: list,
  requests: z.optional(z.int().check(z.minimum(1), z.maximum(1_000_000))),
  cost: z.optional(z.number().check(z.gt(0))),
}
const wish = z.strictObject({
  ...limits,
  lifetime: z._default(z.int().check(z.minimum(1), z.maximum(lifetimeMax)), lifetimeDefault),
})
const claims = z.object({ ...limits, jti: z.string(), gateway: z.string(), exp: z.number() })

/** A session token as it is handed out. */
export interface Minted {
  readonly token: string
  readonly id: string
  /** ISO 8601. */
  readonly expires_at: string
}

/** The tokens of a gateway, and the short-lived ones that they have made for pages. */
export interface SessionTokens extends Tokens {
  /** @throws GatewayError bad_request, forbidden for a session token, unauthorized for an expired one */
  mint(parent: Token, gateway: string, asked: unknown): Promise<Minted>
  /** The token of a grant, which lasts as long as that and the token that made it. */
  renew(grant: Grant, digest: string): Promise<Token | undefined>
}

/**
 * Session tokens (PROTOCOL.md) are signed, and kept nowhere: the key comes from the digest of the token that makes one,
 * and from the operator's secret if there is one, so that it ends with either.
 */
export function createSessionTokens(tokens: Tokens, secret = ''): SessionTokens {
  const keys = new WeakMap<Token, Promise<CryptoKey>>()
  const keyOf = (parent: Token): Promise<CryptoKey> => {
    const known = keys.get(parent) ?? deriveKey(parent.digest, secret)
    keys.set(parent, known)
    return known
  }

  const read = async (credential: string, name: string): Promise<Token> => {
    const parent = await tokens.named(name)
    if (!parent) throw refusal('The token that made this session token is no longer valid')
    const [head = '', body = '', signature = ''] = credential.split('.')
    const signed = encoder.encode(`${head}.${body}`)
    const holds = await crypto.subtle.verify('HMAC', await keyOf(parent), fromBase64(signature), signed)
    if (!holds) throw refusal('The signature of the session token does not hold')
    const read = claims.safeParse(parseJson(fromBase64(body)))
    if (!read.success) throw refusal('The session token was made by another version')
    const { jti: id, exp, ...own } = read.data
    const grant = { ...own, id, expiresAt: exp * 1_000, parent: parent.digest }
    if (grant.expiresAt <= Date.now()) throw refusal('The session token has expired')
    return toToken(grant, parent, await sha256(credential))
  }

  return {
    get size() {
      return tokens.size
    },
    get: tokens.get,
    named: tokens.named,
    async find(credential) {
      const name = nameIn(credential)
      return name === undefined ? tokens.find(credential) : read(credential, name)
    },
    async mint(parent, gateway, asked) {
      if (parent.grant) throw new GatewayError('forbidden', 'A session token makes no other')
      const parsed = wish.safeParse(asked)
      if (!parsed.success) {
        const [issue] = parsed.error.issues
        throw new GatewayError('bad_request', `${issue?.path.join('.')}: ${issue?.message}`)
      }
      const { lifetime, ...own } = parsed.data
      const [id, exp] = [newId(), Math.floor(Date.now() / 1_000) + lifetime]
      const head = toBase64(toBytes({ alg: 'HS256', typ: type, kid: toName(parent.digest) }))
      const body = toBase64(toBytes({ ...own, gateway, jti: id, exp }))
      const signed = encoder.encode(`${head}.${body}`)
      const signature = await crypto.subtle.sign('HMAC', await keyOf(parent), signed)
      const token = `${head}.${body}.${toBase64(new Uint8Array(signature))}`
      return { token, id, expires_at: new Date(exp * 1_000).toISOString() }
    },
    async renew(grant, digest) {
      const parent = grant.expiresAt > Date.now() ? await tokens.get(grant.parent) : undefined
      return parent && toToken(grant, parent, digest)
    },
  }
}

/** Letters of a digest that name it and do not tell it. */
const nameChars = 16
/** The name of a token in those that it has made. */
export const toName = (digest: string): string => digest.slice(0, nameChars)

/** The name of the token that made a session token; undefined for what is none, as others' JWTs. */
function nameIn(credential: string): string | undefined {
  if (!shape.test(credential)) return undefined
  const head = header.safeParse(parseJson(fromBase64(credential.slice(0, credential.indexOf('.')))))
  return head.data?.kid
}

/** The algorithm is always the same, whatever a token says. */
const header = z.object({ typ: z.literal(type), kid: z.string() })
const encoder = new TextEncoder()
const refusal = (reason: string): GatewayError => new GatewayError('unauthorized', reason)

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

const toBytes = (value: object): Uint8Array => encoder.encode(JSON.stringify(value))

/** RFC 4648, 5, without padding. */
const toBase64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')

/** What is no base64 is no bytes. */
function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0))
  } catch {
    return new Uint8Array()
  }
}

function toToken(grant: Grant, parent: Token, digest: string): Token {
  const { name, rates } = parent
  const opens = (gateway: string): boolean => gateway === grant.gateway && parent.opens(gateway)
  return {
    name,
    digest,
    rates,
    expiresAt: grant.expiresAt,
    grant,
    opens,
    may: (scope, gateway = '') => scope === 'run' && opens(gateway),
  }
}

async function deriveKey(digest: string, secret: string): Promise<CryptoKey> {
  const bytes = (text: string) => new TextEncoder().encode(text)
  const material = await crypto.subtle.importKey('raw', bytes(digest), 'HKDF', false, ['deriveKey'])
  const how = { name: 'HKDF', hash: 'SHA-256', salt: bytes(secret), info: bytes(type) }
  const hmac = { name: 'HMAC', hash: 'SHA-256', length: 256 }
  return crypto.subtle.deriveKey(how, material, hmac, false, ['sign', 'verify'])
}
