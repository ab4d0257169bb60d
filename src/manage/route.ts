import type * as z from 'zod'
import type { Scope } from '../config.ts'
import type { Change, Kinds, Stored } from '../store/config.ts'
import type { Vault } from '../store/vault.ts'
import type { Access } from './access.ts'
import { ManageError, type Outcome } from './answer.ts'
import type { Desk } from './desk.ts'

/** One request, checked. */
export interface Asked<Query = unknown, Body = unknown> {
  readonly desk: Desk
  readonly access: Access
  readonly request: Request
  /** Parts of the path, by name. */
  readonly params: Readonly<Record<string, string>>
  readonly query: Query
  readonly body: Body
  /** What is stored, as it is now. */
  readonly stored: Stored
}

/** One method of one path. */
export interface Route<Query = unknown, Body = unknown> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Behind `/client/v4/accounts/{account}/ai-gateway`. A part `{gateway}` wants a token of that gateway only. */
  readonly path: string
  readonly summary: string
  /** Any token with the scope will do, as the room itself looks which gateways it is for. */
  readonly isShared?: boolean
  /** Absent: no query is taken. */
  readonly query?: z.core.$ZodType<Query>
  /** Absent: no body is read. */
  readonly body?: z.core.$ZodType<Body>
  /** What the description says of the body, where its schema does not. */
  readonly shown?: z.core.$ZodType
  /** Of `result`; absent: the answer is no JSON of ours. */
  readonly result?: z.core.$ZodType
  handle(asked: Asked<Query, Body>): Promise<Outcome | Response>
}

/** A route with its own types, among others. */
export const route = <Query, Body>(one: Route<Query, Body>): Route => one as unknown as Route

/** The scope that a method wants. */
export const scopeOf = (method: string): Scope => (method === 'GET' || method === 'HEAD' ? 'read' : 'edit')

/** What a change is called in the audit trail. */
export interface Deed {
  readonly action: string
  readonly target: string
  readonly gateway?: string
  /** Names of what was given. */
  readonly fields?: readonly string[]
}

/**
 * Change what is stored, by what is stored. `decide` may be asked again, when somebody else's change came first.
 * @throws ManageError unavailable without a store; what `decide` throws
 */
export async function change<T>(
  { desk, access }: Asked,
  { action, target, gateway = null, fields = [] }: Omit<Deed, 'gateway'> & { gateway?: string | null },
  decide: (
    stored: Stored,
  ) => Promise<{ changes: readonly Change[]; result: T }> | { changes: readonly Change[]; result: T },
): Promise<T> {
  const { live } = desk.rooms
  if (!live) throw new ManageError('unavailable', 'This gateway has no store for what changes while running')
  const entry = { principal: access.name, action, target, gateway_id: gateway, fields }
  let made: { result: T } | undefined
  await live.change(async (stored) => {
    const { changes, result } = await decide(stored)
    made = { result }
    return { changes, entry }
  })
  return made!.result
}

/** How many records of a kind there can be: all of them are held in memory. */
const recordsMax: Readonly<Record<keyof Kinds, number>> = {
  gateway: 1_000,
  token: 10_000,
  key: 10_000,
  provider: 1_000,
}

/** @throws ManageError full */
export function assertPlace(stored: Stored, kind: keyof Kinds): void {
  if (stored[kind].length >= recordsMax[kind]) throw new ManageError('full')
}

/**
 * Where secrets are sealed; `what` says which.
 * @throws ManageError unavailable, without a master key
 */
export function vaultOf({ settings }: Desk, what: string): Vault {
  if (settings?.vault.isOpen) return settings.vault
  const how = 'set TRUNKLINE_MASTER_KEY=$(openssl rand -base64 32)'
  throw new ManageError('unavailable', `${what} are stored under a master key only: ${how}`)
}

/** A time as the API writes it. */
export const toTime = (ms: number): string => new Date(ms).toISOString()
