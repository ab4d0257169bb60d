import { GatewayError } from '../errors.ts'
import { keyPrefixes } from '../providers/sockets.ts'
import type { Grant, Principal } from '../types.ts'
import { isToken } from './headers.ts'
import type { SessionTokens } from './session-tokens.ts'
import type { Token, Tokens } from './tokens.ts'

const gatewayHeader = 'cf-aig-authorization'
/** Values of one slot that are looked at; a key file, which may come in one, has some dozen commas. */
const slotPartsMax = 64

/** What a gateway asks of a caller. */
export interface Gate {
  readonly id: string
  /** Only its own machine can reach it. */
  readonly isLocal: boolean
  /** Refuse callers without a token. */
  readonly required: boolean
  readonly tokens: SessionTokens
  /** Headers in which providers' keys come, and in which a gateway token may come instead. */
  readonly slots: readonly string[]
}

/**
 * Take every gateway credential out of `headers`, and tell whose it was.
 * `cf-aig-authorization` is the gateway's; without it a provider's slot may hold the gateway token, which then
 * is not the provider's key (contract: "The gateway's own token may ride in the provider's auth slot").
 * @returns the token, or undefined where none is needed and none was shown
 * @throws GatewayError unauthorized, forbidden
 */
export async function takeToken(headers: Headers, gate: Gate, known?: Token): Promise<Token | undefined> {
  const token = await findToken(headers, gate, known)
  if (token?.grant && token !== known) assertPlace(token.grant, headers.get('origin'), gate)
  return token?.opens(gate.id) ? token : undefined
}

/** @throws GatewayError forbidden for a session token of another gateway, or of other pages */
function assertPlace({ gateway, origins }: Grant, origin: string | null, gate: Gate): void {
  if (gateway !== gate.id)
    throw new GatewayError('forbidden', `The session token is for the gateway "${gateway}"`)
  if (origins && (origin === null || !origins.includes(origin)))
    throw new GatewayError('forbidden', 'The session token is for pages of other origins')
}

async function findToken(headers: Headers, gate: Gate, known?: Token): Promise<Token | undefined> {
  const shown = headers.get(gatewayHeader)
  headers.delete(gatewayHeader)
  let token = shown === null ? known : await gate.tokens.find(bare(shown))
  const holds = token?.grant || token?.opens(gate.id)
  if (shown !== null && !holds && gate.required) throw new GatewayError('unauthorized')
  if (gate.tokens.size === 0) return token?.grant && token
  for (const slot of gate.slots) {
    const found = await clear(slot, headers, gate.tokens)
    token ??= found.find((one) => one.opens(gate.id)) ?? found.find((one) => one.grant)
  }
  return token
}

/**
 * Take the gateway tokens out of a provider's slot: never a provider's key, whoever else vouched for the caller, and
 * whatever they may do. A header that came twice is one value with a comma.
 */
async function clear(slot: string, headers: Headers, tokens: Tokens): Promise<Token[]> {
  const value = headers.get(slot)
  if (value === null) return []
  const parts = value.split(',')
  const found = await Promise.all(parts.slice(0, slotPartsMax).map((part) => tokens.find(bare(part))))
  if (!found.some(Boolean)) return []
  const rest = parts.filter((_, index) => !found[index])
  if (rest.join('').trim() === '') headers.delete(slot)
  else headers.set(slot, rest.join(',').trim())
  return found.filter((token) => token !== undefined)
}

/** @throws GatewayError unauthorized, where a token is required and there is none */
export function toPrincipal(token: Token | undefined, gate: Gate): Principal {
  if (!token && gate.required) throw new GatewayError('unauthorized')
  return token
    ? {
        name: token.name,
        credential: token.digest,
        rates: token.rates,
        ...(token.grant && { grant: token.grant }),
      }
    : { name: 'anonymous', credential: null }
}

/** A credential without its scheme; `cf-aig-authorization` comes with and without one. */
function bare(value: string): string {
  return value
    .trim()
    .replace(/^(Bearer|Token|Key)\s+/i, '')
    .trim()
}

/** What stands before the first dot of a subprotocol that has one; in any case, as with the headers they stand for. */
const prefixOf = (name: string): string => name.slice(0, Math.max(name.indexOf('.'), 0)).toLowerCase()
const isCredential = (name: string): boolean => prefixOf(name) === gatewayHeader
const isKey = (name: string): boolean => keyPrefixes.has(prefixOf(name))
const isSecret = (name: string): boolean => isCredential(name) || isKey(name)
/** Our own wire, selected whenever it is offered. */
const ownProtocol = 'trunkline.v1'

/** What a list of offered subprotocols says. */
export interface Offer {
  /** The gateway token among them. */
  readonly token?: string
  /** A provider's key among them; with its scheme, where the subprotocol before it names one. */
  readonly key?: string
  /** The one to select. */
  readonly selected?: string
  /** Those that neither are nor announce a secret. */
  readonly open: readonly string[]
  readonly offered: boolean
  /** Names that differ, and that a header may hold (RFC 6455, 4.1). */
  readonly isLegal: boolean
}

/**
 * Read `Sec-WebSocket-Protocol`. Selected is our own wire, or the first name without a secret; else, since browsers fail
 * without a selection, the token's own (PROTOCOL.md, "Subprotocol echo"). Behind one of `keyNames` stands a key that is
 * a name of its own.
 */
export function readOffer(header: string | null, keyNames: readonly string[] = []): Offer {
  const names = header === null ? [] : header.split(',').map((name) => name.trim())
  const credential = names.find(isCredential)
  const keyed = names.find(isKey)
  const scheme = names.find((name) => keyNames.includes(name.toLowerCase()))
  const next = scheme === undefined ? undefined : names[names.indexOf(scheme) + 1]
  const bareKey = next !== undefined && isSecret(next) ? undefined : next
  const key = keyed?.slice(keyed.indexOf('.') + 1) ?? (bareKey && `${capital(scheme!)} ${bareKey}`)
  const free = names.filter((name) => !isSecret(name) && name !== bareKey)
  const selected = free.includes(ownProtocol) ? ownProtocol : (free[0] ?? credential)
  return {
    offered: names.length > 0,
    isLegal: names.every(isToken) && new Set(names).size === names.length,
    open: free.filter((name) => name !== scheme),
    ...(credential && { token: credential.slice(gatewayHeader.length + 1) }),
    ...(key && { key }),
    ...(selected && { selected }),
  }
}

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase()
