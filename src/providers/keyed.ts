import type { Outgoing } from './outgoing.ts'
import type { Provider, Providers } from './providers.ts'

/** Keys that are stored apart from the providers. */
export interface KeySource {
  /** The key to take for a call that brings none; undefined: the provider's own. May reject with a `GatewayError`. */
  find(provider: string, alias: string | undefined): Promise<string | undefined>
  /** Keys of a provider that may have been sent. */
  found(provider: string): readonly string[]
}

/** The same providers, with the keys of a source. */
export function withKeys(providers: Providers, keys: KeySource): Providers {
  const made = new WeakMap<Provider, Provider>()
  return {
    slugs: providers.slugs,
    credentialHeaders: providers.credentialHeaders,
    get(slug) {
      const provider = providers.get(slug)
      const known = provider && made.get(provider)
      if (!provider || known) return known
      const keyed = toKeyed(provider, keys)
      made.set(provider, keyed)
      return keyed
    },
  }
}

function toKeyed(provider: Provider, keys: KeySource): Provider {
  const { slug, credentialHeaders, secrets, authorize } = provider
  const isBrought = ({ headers }: Pick<Outgoing, 'headers'>): boolean =>
    credentialHeaders.some((name) => headers.has(name))
  return {
    ...provider,
    get secrets() {
      return [...secrets, ...keys.found(slug)]
    },
    async authorize(request, fetch, signal) {
      const isOwn = request.bringsKey || isBrought(request)
      const key = isOwn ? undefined : await keys.find(slug, request.alias)
      return authorize(key === undefined ? request : { ...request, key }, fetch, signal)
    },
    place(model, asked) {
      const findKey = async () => (isBrought(asked) ? undefined : keys.find(slug, asked.alias))
      return provider.place(model, { ...asked, findKey })
    },
  }
}
