import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose'
import * as z from 'zod/mini'
import { GatewayError } from '../errors.ts'
import { sha256 } from '../hash.ts'
import { newId } from '../ids.ts'
import type { Grant } from '../types.ts'
import type { Token, Tokens } from './tokens.ts'

const type = 'trunkline-session+jwt'
const algorithm = 'HS256'
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

  const read = async (credential: string): Promise<Token> => {
    const { kid = '' } = decodeProtectedHeader(credential)
    const parent = await tokens.named(kid)
    if (!parent)
      throw new GatewayError('unauthorized', 'The token that made this session token is no longer valid')
    const { payload } = await jwtVerify(credential, await keyOf(parent), {
      algorithms: [algorithm],
      typ: type,
    }).catch(refuse)
    const { jti: id, exp, ...own } = claims.parse(payload)
    const grant = { ...own, id, expiresAt: exp * 1_000, parent: parent.digest }
    return toToken(grant, parent, await sha256(credential))
  }

  return {
    get size() {
      return tokens.size
    },
    get: tokens.get,
    named: tokens.named,
    find: async (credential) => (isSession(credential) ? read(credential) : tokens.find(credential)),
    async mint(parent, gateway, asked) {
      if (parent.grant) throw new GatewayError('forbidden', 'A session token makes no other')
      const parsed = wish.safeParse(asked)
      if (!parsed.success) {
        const [issue] = parsed.error.issues
        throw new GatewayError('bad_request', `${issue?.path.join('.')}: ${issue?.message}`)
      }
      const { lifetime, ...own } = parsed.data
      const [id, exp] = [newId(), Math.floor(Date.now() / 1_000) + lifetime]
      const token = await new SignJWT({ ...own, gateway })
        .setProtectedHeader({ alg: algorithm, typ: type, kid: toName(parent.digest) })
        .setJti(id)
        .setExpirationTime(exp)
        .sign(await keyOf(parent))
      return { token, id, expires_at: new Date(exp * 1_000).toISOString() }
    },
    async renew(grant, digest) {
      const parent = grant.expiresAt > Date.now() ? await tokens.get(grant.parent) : undefined
      return parent && toToken(grant, parent, digest)
    },
  }
}

/** What tells of a token's digest without telling it. */
const nameChars = 16
/** The name of a token in those that it has made. */
export const toName = (digest: string): string => digest.slice(0, nameChars)

function isSession(credential: string): boolean {
  try {
    return shape.test(credential) && decodeProtectedHeader(credential).typ === type
  } catch {
    return false // somebody else's, which may have any shape
  }
}

function refuse(error: unknown): never {
  const isExpired = error instanceof errors.JWTExpired
  throw new GatewayError(
    'unauthorized',
    isExpired ? 'The session token has expired' : 'The signature of the session token does not hold',
  )
}

function toToken(grant: Grant, parent: Token, digest: string): Token {
  const { name, rates } = parent
  const opens = (gateway: string): boolean => gateway === grant.gateway && parent.opens(gateway)
  return {
    name,
    digest,
    rates,
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
