import { modelOf } from '../observe/model.ts'
import type { Counters, Settlement } from '../store/counters.ts'
import type { Account, Dimension, RateSettings, SpendRule, Step, Watch } from '../types.ts'
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
  /** What a step may use up, before it is sent. */
  readonly estimate: (step: Step) => Account
  readonly report: (where: string, error: unknown) => void
}

/**
 * Tokens and money within their windows. A try is let through while a limit is not reached, and counts with its
 * estimate until its answer is over; so a limit is overrun by what the last try let through costs, and by what those
 * under way cost over their estimates, and by no more.
 */
export function createBudget(options: BudgetOptions, next: Try): Try {
  const { gateway, counters, report } = options
  return async (attempt) => {
    const charges = chargesOf(options, attempt)
    if (charges.length === 0) return next(attempt)
    const { at } = await admit(
      gateway,
      charges.map(({ limit }) => limit),
      counters,
    )
    const settle = (account: Account): void => {
      const settlements = charges.map(({ limit: { name: _, limit: __, ...claim }, read }): Settlement => {
        return { ...claim, at, amount: (read(account) ?? 0) - claim.amount }
      })
      counters
        .settle(gateway, settlements)
        .catch((error: unknown) => report('limits cannot be settled', error))
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

function chargesOf({ gateway, rates, rules, estimate }: BudgetOptions, { call, step }: Attempt): Charge[] {
  const scopes = scopesOf(gateway, rates, call)
  if (rules.length === 0 && !scopes.some(({ own }) => own.rate_limiting_tokens)) return []
  const expected = estimate(step)
  const tokens = scopes.flatMap(({ name, key, own }): Charge[] => {
    const window = windowOf(own)
    const limit = own.rate_limiting_tokens
    if (!window || !limit) return []
    const amount = readTokens(expected) ?? 0
    return [
      { limit: { ...window, name: `${name}-tokens`, key: `tokens ${key}`, limit, amount }, read: readTokens },
    ]
  })
  const spend = rules.flatMap((rule): Charge[] => {
    const parts = partsOf(rule, step)
    if (rule.enabled === false || !parts) return []
    const { id, limit, window, technique } = rule
    const key = `spend ${gateway} ${id} ${JSON.stringify(parts)}`
    const amount = readCost(expected) ?? 0
    return [{ limit: { name: id, key, limit, windowMs: window * 1_000, technique, amount }, read: readCost }]
  })
  return [...tokens, ...spend]
}

const readTokens = ({ usage }: Account): number | undefined => usage && usage.inputTokens + usage.outputTokens
const readCost = ({ cost }: Account): number | undefined => cost?.value

/** The values by which a rule is split; undefined where it does not bear on a step. */
function partsOf({ provider, model, metadata }: SpendRule, step: Step): string[] | undefined {
  const name = model && modelOf(step, typeof step.body === 'string' ? step.body : decode(step.body), null)
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

const decode = (body: Step['body']): string | null =>
  body instanceof Uint8Array ? new TextDecoder().decode(body) : null
