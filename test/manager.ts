import { adminToken } from './config.ts'

/** What the management API answers. */
export interface Managed {
  readonly status: number
  readonly success: boolean
  // biome-ignore lint/suspicious/noExplicitAny: of any route
  readonly result: any
  readonly errors: readonly { code: number; message: string; path?: (string | number)[] }[]
  readonly result_info?: Readonly<Record<string, number>>
  /** As it came, to look for what must not be in it. */
  readonly text: string
}

/** Asks the management API below `…/ai-gateway`. */
export type Manage = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Managed>

/** Ask with a token; null: with none. */
export function managerOf(url: string, token: string | null = adminToken): Manage {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}/client/v4/accounts/default/ai-gateway${path}`, {
      method,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      headers: { ...(token !== null && { authorization: `Bearer ${token}` }), ...headers },
    })
    const text = await response.text()
    return { status: response.status, text, ...JSON.parse(text) }
  }
}
