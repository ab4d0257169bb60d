import type { Cost, Step } from '../types.ts'
import { costOf } from './cost.ts'
import { estimateInput, outputLimit, textOf } from './estimate.ts'
import { modelOf } from './model.ts'
import { createFindPrice, type FindPrice, type PriceList, type PriceRule } from './prices.ts'
import type { Reading } from './tally.ts'

/** What decides on the prices of a provider. */
export interface Priced {
  /** Its book in the price list. */
  readonly book: string
  /** The operator's own prices. */
  readonly prices: readonly PriceRule[]
}

/** What answers cost, of every provider. */
export interface Pricing {
  /** The cost of an answer; `status` is null where there was none. */
  costOf(step: Step, reading: Reading, status: number | null): Cost
  /**
   * US dollars a request may cost, before it is sent: its size, and the most it lets its answer have. Undefined where
   * no price is known.
   */
  estimateCost(step: Step): number | undefined
  /** What the list says of a provider's models. */
  rulesOf(slug: string): readonly PriceRule[]
}

interface Finders {
  readonly own: FindPrice
  readonly listed: FindPrice
}

/** Makes a gateway's; `find` tells a provider by its slug. */
export type CreatePricing = (find: (slug: string) => Priced | undefined) => Pricing

/** Make the pricing of a gateway; `find` tells a provider by its slug, `now` the time that prices are of. */
export function createPricing(
  list: PriceList | undefined,
  find: (slug: string) => Priced | undefined,
  now: () => Date = () => new Date(),
): Pricing {
  const made = new WeakMap<Priced, Finders>()
  const findersOf = (slug: string): Finders | undefined => {
    const priced = find(slug)
    if (!priced) return undefined
    const known = made.get(priced)
    if (known) return known
    const own = createFindPrice(priced.prices, undefined, '')
    const finders = { own, listed: createFindPrice([], list, priced.book) }
    made.set(priced, finders)
    return finders
  }
  /** What answered is what costs; the name that was asked for, as of a deployment, may say anything. */
  const look = (finder: FindPrice | undefined, step: Step, model: string | undefined) =>
    (model === undefined ? undefined : finder?.(model, now())) ??
    finder?.(modelOf(step.url, textOf(step)), now())

  return {
    rulesOf: (slug) => list?.books[find(slug)?.book ?? '']?.rules ?? [],
    costOf(step, { usage, dollars, model }, status) {
      const finders = findersOf(step.provider)
      const own = look(finders?.own, step, model)
      const listed = own || dollars !== undefined ? undefined : look(finders?.listed, step, model)
      return costOf({ usage, dollars, custom: step.options.customCost, own, listed, status })
    },
    estimateCost(step) {
      const finders = findersOf(step.provider)
      const inputTokens = estimateInput(step)
      const outputTokens = outputLimit(textOf(step)) ?? 0
      const usage = { inputTokens, outputTokens, basis: 'estimated' } as const
      const own = look(finders?.own, step, undefined)
      const listed = own ? undefined : look(finders?.listed, step, undefined)
      const { value } = costOf({ usage, custom: step.options.customCost, own, listed, status: 200 })
      return value ?? undefined
    },
  }
}
