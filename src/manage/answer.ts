import * as z from 'zod'
import { GatewayError } from '../errors.ts'

/** Every error of the management API, in one table; the codes are those of contract 1.6 and of Cloudflare's v4 API. */
const errors = {
  invalid: { status: 400, code: 1002, message: 'Not valid' },
  too_large: { status: 413, code: 1002, message: 'The body is too large' },
  unauthenticated: {
    status: 401,
    code: 10000,
    message: 'Authentication error: send Authorization: Bearer <token>',
  },
  forbidden: { status: 403, code: 9109, message: 'The token has no right to this' },
  no_route: { status: 404, code: 7000, message: 'No route for that URI' },
  no_method: { status: 405, code: 7001, message: 'Method not allowed' },
  not_found: { status: 404, code: 1004, message: 'Not found' },
  duplicate: { status: 409, code: 1003, message: 'Is there already' },
  declared: { status: 409, code: 1005, message: 'The configuration declares it, and is where it is changed' },
  full: { status: 409, code: 1006, message: 'There are as many as there can be' },
  unavailable: { status: 503, code: 1007, message: 'This gateway keeps nothing of the kind' },
  internal: { status: 500, code: 1000, message: 'Internal error' },
} as const

/** Symbolic name of an error. */
export type ManageCode = keyof typeof errors

/** The one exception that a room of the API throws. Its message is shown to the client. */
export class ManageError extends Error {
  override readonly name = 'ManageError'
  readonly code: ManageCode
  /** Where in the request. */
  readonly path: readonly (string | number)[] | undefined

  constructor(code: ManageCode, message: string = errors[code].message, path?: readonly (string | number)[]) {
    super(message)
    this.code = code
    this.path = path
  }
}

/** How a page stands among all. */
export interface ResultInfo {
  readonly page: number
  readonly per_page: number
  readonly count: number
  readonly total_count: number
}

/** What a room answers with. */
export interface Outcome<Result = unknown> {
  readonly result: Result
  readonly info?: ResultInfo & Readonly<Record<string, unknown>>
}

/** Of every answer: it is nobody's but the caller's, and no page's. */
const headers = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }

/** The envelope of Cloudflare's v4 API. */
export function toEnvelope({ result, info }: Outcome): Response {
  const body = { success: true, result, errors: [], messages: [], ...(info && { result_info: info }) }
  return Response.json(body, { headers })
}

/** The same of an error; of one that is not meant for clients, only that it happened. */
export function toErrorEnvelope(error: unknown): Response {
  const known = toManageError(error)
  const { status, code } = errors[known.code]
  const one = { code, message: known.message, ...(known.path && { path: known.path }) }
  const body = { success: false, result: null, errors: [one], messages: [] }
  return Response.json(body, { status, headers })
}

/** Whether an error is one that clients are told of. */
export const isTold = (error: unknown): boolean => toManageError(error).code !== 'internal'

function toManageError(error: unknown): ManageError {
  if (error instanceof ManageError) return error
  if (error instanceof GatewayError && error.code === 'too_large') return new ManageError('too_large')
  if (error instanceof GatewayError && error.code === 'client_closed') return new ManageError('invalid')
  return new ManageError('internal')
}

/**
 * A value as its schema wants it.
 * @throws ManageError invalid, naming the place in the request, never a value
 */
export function parse<T>(schema: z.core.$ZodType<T>, value: unknown, place: 'body' | 'query'): T {
  const parsed = z.safeParse(schema, value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const path = [place, ...(issue?.path ?? []).filter((part) => typeof part !== 'symbol')]
  throw new ManageError('invalid', `${path.join('.')}: ${issue?.message}`, path)
}

/** The query of every list: pages from 1. */
export const paging: { page: z.ZodDefault<z.ZodCoercedNumber>; per_page: z.ZodDefault<z.ZodCoercedNumber> } =
  {
    page: z.coerce.number().int().min(1).max(1_000_000).default(1),
    per_page: z.coerce.number().int().min(1).max(100).default(20),
  }

/** One page of what is in memory. */
export function toPage<T>(
  all: readonly T[],
  { page, per_page }: { page: number; per_page: number },
): Outcome<T[]> {
  const result = all.slice((page - 1) * per_page, page * per_page)
  return { result, info: { page, per_page, count: result.length, total_count: all.length } }
}
