import type { Config } from '../config.ts'
import type { PriceRule } from '../observe/prices.ts'
import type { Pricing } from '../observe/pricing.ts'
import type { Providers } from '../providers/providers.ts'
import type { ListedModel } from './context.ts'

/**
 * What `compat` may be asked for: aliases, the models that the configuration names, and of every provider with a chat
 * those that the price list knows by their full names.
 */
export function listModels(
  { aliases, providers: settings }: Pick<Config, 'aliases' | 'providers'>,
  providers: Providers,
  pricing: Pick<Pricing, 'rulesOf'>,
): () => readonly ListedModel[] {
  return () => {
    const models = new Map<string, ListedModel>()
    const add = (id: string, owned_by: string, costs: object = {}) => {
      if (!models.has(id)) models.set(id, { id, object: 'model', created: 0, owned_by, ...costs })
    }
    for (const id of Object.keys(aliases)) add(id, 'gateway')
    for (const slug of providers.slugs) {
      const provider = providers.get(slug)
      if (!provider?.dialectOf('')) continue
      const rules = [...provider.prices, ...pricing.rulesOf(slug)]
      const named = rules.flatMap((rule) => [rule.model].flat().map((name) => [name, toCosts(rule)] as const))
      const costs = new Map(named.filter(([name]) => !name.includes('*')))
      for (const name of settings[slug]?.models ?? []) add(`${slug}/${name}`, slug, costs.get(name))
      for (const [name, cost] of costs) add(`${slug}/${name}`, slug, cost)
    }
    return [...models.values()]
  }
}

const million = 1_000_000

/** US dollars per token. */
function toCosts({ per_million, per_token }: PriceRule): Pick<ListedModel, 'cost_in' | 'cost_out'> {
  const costIn =
    per_token?.input ?? (per_million?.input === undefined ? undefined : per_million.input / million)
  const costOut =
    per_token?.output ?? (per_million?.output === undefined ? undefined : per_million.output / million)
  return {
    ...(costIn !== undefined && { cost_in: costIn }),
    ...(costOut !== undefined && { cost_out: costOut }),
  }
}
