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
}

interface Finders {
  readonly own: FindPrice
  readonly listed: FindPrice
}

/** Make the pricing of a gateway; `find` tells a provider by its slug. */
export function createPricing(
  list: PriceList | undefined,
  find: (slug: string) => Priced | undefined,
): Pricing {
  const made = new Map<string, Finders>()
  const findersOf = (slug: string): Finders | undefined => {
    const known = made.get(slug)
    const priced = known ? undefined : find(slug)
    if (!priced) return known
    const finders = {
      own: createFindPrice(priced.prices, undefined, ''),
      listed: createFindPrice([], list, priced.book),
    }
    made.set(slug, finders)
    return finders
  }
  const requested = (step: Step) => modelOf(step, textOf(step), null)

  return {
    costOf(step, { usage, dollars, model }, status) {
      const finders = findersOf(step.provider)
      // What answered is what costs; a deployment's name may say anything.
      const look = (finder: FindPrice | undefined) =>
        (model === undefined ? undefined : finder?.(model)) ?? finder?.(requested(step))
      const own = look(finders?.own)
      const listed = own || dollars !== undefined ? undefined : look(finders?.listed)
      return costOf({ usage, dollars, custom: step.options.customCost, own, listed, status })
    },
    estimateCost(step) {
      const finders = findersOf(step.provider)
      const text = textOf(step)
      const model = modelOf(step, text, null)
      const usage = {
        inputTokens: estimateInput(step),
        outputTokens: outputLimit(text) ?? 0,
        basis: 'estimated',
      } as const
      const own = finders?.own(model)
      const listed = own ? undefined : finders?.listed(model)
      const { value } = costOf({ usage, custom: step.options.customCost, own, listed, status: 200 })
      return value ?? undefined
    },
  }
}
