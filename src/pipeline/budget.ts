import { estimateInput, textOf } from '../observe/estimate.ts'
import { modelOf } from '../observe/model.ts'
import type { Pricing } from '../observe/pricing.ts'
import type { Counters, Settlement } from '../store/counters.ts'
import type { Account, Dimension, Grant, RateSettings, Runtime, SpendRule, Step, Watch } from '../types.ts'
import { grantLimit } from './grant.ts'
import { admit, type Limit, scopesOf, windowOf } from './limit.ts'
import type { Attempt, Try } from './record.ts'

/** A limit of what an answer uses up: what it is counted with until that is known, and how it is read then. */
interface Charge {
  readonly limit: Limit
  readonly read: (account: Account) => number | undefined
}

/** What a budget is made of. */
export interface BudgetOptions {
  readonly gateway: string
  readonly rates: RateSettings
  readonly rules: readonly SpendRule[]
  readonly counters: Counters
  readonly pricing: Pick<Pricing, 'estimateCost'>
  readonly runtime: Pick<Runtime, 'report' | 'defer'>
}

/** What one attempt is charged with. */
export interface Tab {
  /** Count what has been used up so far, at a time in ms since the epoch; default: when it began. Never rejects. */
  settle(account: Account, at?: number): Promise<void>
  /** The name of a limit that is reached by now, if one is. Never rejects. */
  reached(): Promise<string | undefined>
}

/**
 * Tokens and money within their windows. A try is let through while a limit is not reached, and counts with its
 * estimate until its answer is over; so a limit is overrun by what the last try let through costs, and by what those
 * under way cost over their estimates, and by no more.
 */
export function createBudget(options: BudgetOptions, next: Try): Try {
  const { defer } = options.runtime
  return async (attempt) => {
    const tab = await openTab(options, attempt)
    if (!tab) return next(attempt)
    const settle = (account: Account): void => {
      const work = tab.settle(account)
      defer?.(work)
    }
    try {
      const sent = await next(attempt)
      return { ...sent, watch: settleAtEnd(sent.watch, settle) }
    } catch (error) {
      settle({})
      throw error
    }
  }
}

/**
 * Hold an attempt against its limits.
 * @returns undefined where none bears on it
 * @throws GatewayError too_many_requests, once one of them is reached
 */
export async function openTab(options: BudgetOptions, attempt: Attempt): Promise<Tab | undefined> {
  const { gateway, counters, runtime } = options
  const charges = chargesOf(options, attempt)
  if (charges.length === 0) return undefined
  const limits = charges.map(({ limit }) => limit)
  const { at: began } = await admit(gateway, limits, counters)
  const counted = limits.map(({ amount }) => amount)
  const fail = (error: unknown): void => runtime.report('limits cannot be settled', error)
  return {
    async settle(account, at = began) {
      const settlements = charges.map(
        ({ limit: { name: _, limit: __, ...claim }, read }, index): Settlement => {
          const amount = read(account) ?? 0
          const more = amount - (counted[index] ?? 0)
          counted[index] = amount
          return { ...claim, at, amount: more }
        },
      )
      await counters.settle(gateway, settlements).catch(fail)
    },
    async reached() {
      const claims = limits.map(({ name: _, ...claim }) => ({ ...claim, amount: 0 }))
      const taken = await counters.take(gateway, claims).catch(fail)
      return taken?.refused === undefined ? undefined : limits[taken.refused]?.name
    },
  }
}

function settleAtEnd(watch: Watch, settle: (account: Account) => void): Watch {
  let isSettled = false
  return {
    read: (bytes) => watch.read(bytes),
    account: () => watch.account(),
    end(ending) {
      watch.end(ending)
      if (isSettled) return
      isSettled = true
      settle(watch.account())
    },
  }
}

function chargesOf({ gateway, rates, rules, pricing }: BudgetOptions, { call, step }: Attempt): Charge[] {
  const scopes = scopesOf(gateway, rates, call)
  const tokens = scopes.flatMap(({ name, key, own }): Charge[] => {
    const window = windowOf(own)
    const limit = own.rate_limiting_tokens
    if (!window || !limit) return []
    const amount = estimateInput(step)
    return [
      { limit: { ...window, name: `${name}-tokens`, key: `tokens ${key}`, limit, amount }, read: readTokens },
    ]
  })
  const spend = rules.flatMap((rule): Charge[] => {
    const parts = partsOf(rule, step)
    if (rule.enabled === false || !parts) return []
    const { id, limit, window, technique } = rule
    const key = `spend ${gateway} ${id} ${JSON.stringify(parts)}`
    const amount = pricing.estimateCost(step) ?? 0
    return [{ limit: { name: id, key, limit, windowMs: window * 1_000, technique, amount }, read: readCost }]
  })
  return [...tokens, ...spend, ...grantedOf(call.principal.grant, () => pricing.estimateCost(step) ?? 0)]
}

function grantedOf(grant: Grant | undefined, estimate: () => number): Charge[] {
  if (grant?.cost === undefined) return []
  return [{ limit: grantLimit(grant, 'cost', grant.cost, estimate()), read: readCost }]
}

const readTokens = ({ usage }: Account): number | undefined => usage && usage.inputTokens + usage.outputTokens
const readCost = ({ cost }: Account): number | undefined => cost?.value ?? undefined

/** The values by which a rule is split; undefined where it does not bear on a step. */
function partsOf({ provider, model, metadata }: SpendRule, step: Step): string[] | undefined {
  const name = model && modelOf(step.url, textOf(step))
  const own = step.options.metadata ?? {}
  const dimensions: [Dimension | undefined, string[]][] = [
    [provider, [step.provider]],
    [model, [`${step.provider}/${name}`, name ?? '']],
    ...Object.entries(metadata ?? {}).map(([key, dimension]): [Dimension, string[]] => {
      const value = Object.hasOwn(own, key) ? [String(own[key])] : []
      return [dimension, value]
    }),
  ]
  const parts: string[] = []
  for (const [dimension, values] of dimensions) {
    if (dimension?.mode === 'filter' && !values.some((value) => dimension.values.includes(value)))
      return undefined
    // What says nothing shares one part, so that silence is no way around a limit.
    if (dimension?.mode === 'partition') parts.push(values[0] ?? '')
  }
  return parts
}
