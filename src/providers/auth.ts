import { googleAuth, googlePlaces } from './google.ts'
import type { Authorize } from './outgoing.ts'
import type { Auth, HeaderAuth } from './row.ts'
import { sigv4Auth, sigv4Places } from './sigv4.ts'

/** Headers in which a client may bring its own key; the first is the native one. */
export function credentialHeaders(auth: Auth): readonly string[] {
  switch (auth.kind) {
    case 'header':
      return [auth.header, ...(auth.also ?? [])]
    case 'sigv4':
      return ['authorization', 'x-api-key']
    case 'google':
      return ['authorization', 'x-goog-api-key']
    default:
      return auth satisfies never
  }
}

/**
 * Make the way of one provider from its kind and its stored key.
 * @throws TypeError for a stored key that cannot be one of this provider
 */
export function createAuthorize(auth: Auth, key: string | undefined): Authorize {
  const own = credentialHeaders(auth)
  switch (auth.kind) {
    case 'header':
      return headerAuth(auth, own, key)
    case 'sigv4':
      return sigv4Auth(auth.services, own, key)
    case 'google':
      return googleAuth(own, key)
    default:
      return auth satisfies never
  }
}

/** A region, a project: what paths need and a credential knows. */
export type Places = Readonly<Record<string, string | undefined>>

/** What a stored key, or the one that a client sent, says of places. */
export function placesOf(auth: Auth, headers: Headers, key: string | undefined): Places {
  if (auth.kind === 'google') return googlePlaces(headers, key)
  return auth.kind === 'sigv4' ? sigv4Places(key) : {}
}

/** Put a client's key where this provider looks for it. */
export function presentKey(auth: Auth, headers: Headers, key: string): void {
  const { header, scheme = '' } =
    auth.kind === 'header' ? auth : { header: 'authorization', scheme: 'Bearer' }
  headers.set(header, `${scheme} ${key}`.trim())
}

function headerAuth(
  { header, scheme }: HeaderAuth,
  own: readonly string[],
  key: string | undefined,
): Authorize {
  const value = key !== undefined && scheme ? `${scheme} ${key}` : key
  return async ({ headers, body }) => {
    if (value !== undefined && !own.some((name) => headers.has(name))) headers.set(header, value)
    return { headers, body }
  }
}
