import { importPKCS8, SignJWT } from 'jose'
import * as z from 'zod/mini'
import { type ErrorCode, GatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'
import { parseJson } from '../json.ts'
import { readBytes } from '../streams.ts'
import type { Runtime } from '../types.ts'
import { type Authorize, readJsonKey, untilAborted } from './outgoing.ts'

const googleTokenUri = 'https://oauth2.googleapis.com/token'
const scope = 'https://www.googleapis.com/auth/cloud-platform'
/** Access tokens held at once; clients may bring any number of accounts. */
const tokensMax = 100
/** A token is renewed this long before its end. */
const earlyMs = 60_000
/** One exchange may take this long. */
const exchangeMs = 10_000
/** Of the answer to one. */
const answerBytes = 65_536
/** Life of a token whose answer does not tell. */
const lifeDefaultS = 3_600

/** What is used of a service account's key file. */
const serviceAccount = z.object({
  client_email: z.string().check(z.minLength(1)),
  private_key: z.string().check(z.minLength(1)),
  token_uri: z.optional(z.string()),
  project_id: z.optional(z.string()),
  region: z.optional(z.string()),
})

interface Account {
  readonly client_email: string
  readonly private_key: string
  readonly token_uri: string
  /** Whose fault it is when the private key is unusable. */
  readonly blame: ErrorCode
}

interface Token {
  readonly text: string
  readonly seconds: number
}

/**
 * Google access tokens. From a service account, stored or sent by the client as base64 (contract 1.2), one is minted
 * and held; any other credential of the client passes as it is.
 */
export function googleAuth(own: readonly string[], key: string | undefined): Authorize {
  const file = readJsonKey(key, serviceAccount)
  const stored = file && toAccount(file, file.token_uri ?? googleTokenUri, 'provider_failed')
  const tokenOf = createTokens()
  return async ({ headers, body }, fetch, signal) => {
    const sent = readSent(headers.get('authorization'))
    const isOwn = own.some((name) => headers.has(name))
    const account = sent ?? (isOwn ? undefined : stored)
    const bearer = account ? await tokenOf(account, fetch, signal) : isOwn ? undefined : key
    if (bearer !== undefined) headers.set('authorization', `Bearer ${bearer}`)
    return { headers, body }
  }
}

/** Project and region of a service account, sent or stored; without a region, the global endpoint. */
export function googlePlaces(
  headers: Headers,
  key: string | undefined,
): { project?: string; region: string } {
  const file = readFile(headers.get('authorization')) ?? readJsonKey(key, serviceAccount)
  const { project_id: project, region = 'global' } = file ?? {}
  return { region, ...(project !== undefined && { project }) }
}

/** Environments often hold a key file whose line breaks are escaped twice. */
function toAccount(file: z.infer<typeof serviceAccount>, token_uri: string, blame: ErrorCode): Account {
  const { client_email, private_key } = file
  return { client_email, private_key: private_key.replaceAll('\\n', '\n'), token_uri, blame }
}

/** The service account in a client's bearer. It is exchanged with Google only, whatever host it names. */
function readSent(authorization: string | null): Account | undefined {
  const file = readFile(authorization)
  return file && toAccount(file, googleTokenUri, 'bad_request')
}

function readFile(authorization: string | null): z.infer<typeof serviceAccount> | undefined {
  const text = /^Bearer\s+([\w+/-]+=*)$/i.exec(authorization ?? '')?.[1]
  return text === undefined ? undefined : serviceAccount.safeParse(parseJson(fromBase64(text))).data
}

function fromBase64(text: string): string {
  try {
    return atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  } catch {
    return '' // not base64, so not ours
  }
}

/** An access token, or the way to one: `text` is there once the exchange is done. */
interface Entry {
  readonly pending: Promise<Token>
  text?: string
  until: number
}

/** Tokens by account. Whoever asks while one is being minted waits for that one. */
function createTokens(): (account: Account, fetch: Runtime['fetch'], signal: AbortSignal) => Promise<string> {
  const held = new Map<string, Entry>()

  const start = (id: string, account: Account, fetch: Runtime['fetch']): Entry => {
    held.delete(id)
    const oldest = held.keys().next().value
    if (held.size >= tokensMax && oldest !== undefined) held.delete(oldest)
    // Bound to no caller's signal, as others may come to wait for it.
    const entry: Entry = { pending: mint(account, fetch), until: Date.now() + exchangeMs }
    held.set(id, entry)
    entry.pending.then(
      ({ text, seconds }) => {
        entry.text = text
        entry.until = Date.now() + seconds * 1_000 - earlyMs
      },
      () => {
        if (held.get(id) === entry) held.delete(id)
      },
    )
    return entry
  }

  return async (account, fetch, signal) => {
    // The private key is a part of the name: an e-mail address alone would open another's token.
    const id = JSON.stringify([account.client_email, account.private_key, account.token_uri])
    const found = held.get(id)
    const { text, pending } = found && found.until > Date.now() ? found : start(id, account, fetch)
    if (text !== undefined) return text
    // Some runtimes drop the work of a request that ended, and the promise then never settles.
    const patience = AbortSignal.any([signal, AbortSignal.timeout(exchangeMs)])
    return (await untilAborted(pending, patience)).text
  }
}

/** Exchange a service account for an access token (RFC 7523, 2.1). Causes may quote the key, so none is kept. */
async function mint(account: Account, fetch: Runtime['fetch']): Promise<Token> {
  const assertion = await sign(account).catch(() => {
    throw new GatewayError(account.blame, "The service account's private key cannot be used")
  })
  const response = await exchange(account.token_uri, assertion, fetch).catch(() => undefined)
  const answer = z
    .object({
      access_token: z.string().check(z.minLength(1)),
      expires_in: z._default(z.number(), lifeDefaultS),
    })
    .safeParse(response?.body)
  if (!response?.ok || !answer.success) {
    const status = response ? `: status ${response.status}` : ''
    throw new GatewayError('provider_failed', `The service account got no access token${status}`)
  }
  return { text: answer.data.access_token, seconds: answer.data.expires_in }
}

async function sign({ client_email, private_key, token_uri }: Account): Promise<string> {
  return new SignJWT({ scope })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setIssuer(client_email)
    .setAudience(token_uri)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(await importPKCS8(private_key, 'RS256'))
}

async function exchange(
  uri: string,
  assertion: string,
  fetch: Runtime['fetch'],
): Promise<{ ok: boolean; status: number; body: unknown }> {
  const body = new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion })
  const signal = AbortSignal.timeout(exchangeMs)
  const headers = new Fields([['content-type', 'application/x-www-form-urlencoded;charset=UTF-8']])
  const request = { method: 'POST', url: new URL(uri), headers, body: body.toString() }
  const response = await fetch(request, signal)
  const text = new TextDecoder().decode(await readBytes(response.body, answerBytes, signal))
  return { ok: response.ok, status: response.status, body: parseJson(text) }
}
