import { estimateInput, textOf } from '../observe/estimate.ts'
import { modelsInText, modelsInUrl } from '../observe/model.ts'
import type { Pricing } from '../observe/pricing.ts'
import type { Providers } from '../providers/providers.ts'
import { type Counters, type Settlement, toSlot } from '../store/counters.ts'
import type { Account, Dimension, Options, RateSettings, Runtime, SpendRule, Step, Watch } from '../types.ts'
import { grantLimit } from './grant.ts'
import { admit, type Limit, scopesOf, toName, windowOf } from './limit.ts'
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
  readonly pricing: Pick<Pricing, 'estimateCost' | 'costOf'>
  readonly providers: Pick<Providers, 'get'>
  readonly runtime: Pick<Runtime, 'report' | 'defer'>
}

/** What one attempt is charged with. */
export interface Tab {
  /** Count what has been used up since it was last told, and nothing more for what it was let through with. Never rejects. */
  settle(account: Account): Promise<void>
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
  const fail = (error: unknown): void => runtime.report('limits cannot be settled', error)
  const known = charges.map(() => 0)
  let reserved = limits
  return {
    async settle(account) {
      const now = Date.now()
      // A reservation whose window is over counts no more, and what was used up counts in the one that is.
      const refunds = reserved
        .filter((limit) => toSlot(limit, began).expiresAt > now)
        .map((limit): Settlement => ({ ...toClaim(limit), at: began, amount: -limit.amount }))
      reserved = []
      const used = charges.map(({ limit, read }, index): Settlement => {
        const total = read(account) ?? 0
        const amount = total - (known[index] ?? 0)
        known[index] = total
        return { ...toClaim(limit), at: now, amount }
      })
      await counters.settle(gateway, [...refunds, ...used]).catch(fail)
    },
    async reached() {
      const claims = limits.map((limit) => ({ ...toClaim(limit), limit: limit.limit, amount: 0 }))
      const taken = await counters.take(gateway, claims).catch(fail)
      return taken?.refused === undefined ? undefined : limits[taken.refused]?.name
    },
  }
}

const toClaim = ({ name: _, limit: __, ...claim }: Limit): Omit<Settlement, 'at'> => claim

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

function chargesOf(options: BudgetOptions, { call, step }: Attempt): Charge[] {
  const { gateway, rates, rules } = options
  const scopes = scopesOf(gateway, rates, call)
  const tokens = scopes.flatMap(({ name, key, own }): Charge[] => {
    const window = windowOf(own)
    const limit = own.rate_limiting_tokens
    if (!window || !limit) return []
    const counter = `tokens ${key} ${toName(window)}`
    const amount = estimateInput(step)
    return [{ limit: { ...window, name: `${name}-tokens`, key: counter, limit, amount }, read: readTokens }]
  })
  const read = (account: Account) => readCost(account, step, options)
  const spend = rules.flatMap((rule): Charge[] => {
    const parts = rule.enabled === false ? undefined : partsOf(rule, step, options)
    if (!parts) return []
    const { id, limit, technique } = rule
    const window = { windowMs: rule.window * 1_000, technique }
    const key = `spend ${gateway} ${id} ${toName(window)} ${JSON.stringify(parts)}`
    return [{ limit: { name: id, key, limit, ...window, amount: expectedCost(step, options) }, read }]
  })
  const { grant } = call.principal
  if (grant?.cost === undefined) return [...tokens, ...spend]
  const own = grantLimit(grant, 'cost', grant.cost, expectedCost(step, options))
  return [...tokens, ...spend, { limit: own, read }]
}

/** A client's own prices count where they are higher: a limit that its words could lower would be none. */
function expectedCost(step: Step, { pricing }: BudgetOptions): number {
  const expected = pricing.estimateCost(step) ?? 0
  return step.options.customCost
    ? Math.max(expected, pricing.estimateCost(withoutPrices(step)) ?? 0)
    : expected
}

function readCost({ usage, cost }: Account, step: Step, { pricing }: BudgetOptions): number {
  const told = cost?.value ?? 0
  if (!step.options.customCost || !usage) return told
  return Math.max(told, pricing.costOf(withoutPrices(step), { usage }, null).value ?? 0)
}

const withoutPrices = (step: Step): Step =>
  step.options.customCost ? { ...step, options: { ...step.options, customCost: undefined } as Options } : step

const readTokens = ({ usage }: Account): number | undefined => usage && usage.inputTokens + usage.outputTokens

/** The values by which a rule is split; undefined where it does not bear on a step. */
function partsOf(
  { provider, model, metadata }: SpendRule,
  step: Step,
  { providers }: BudgetOptions,
): string[] | undefined {
  const slug = providers.get(step.provider)?.slug ?? step.provider
  const models = model && modelsOf(step)
  const own = step.options.metadata ?? {}
  const dimensions: [Dimension | undefined, string[] | undefined][] = [
    [provider, [slug]],
    [model, models?.flatMap((name) => [name, `${slug}/${name}`])],
    ...Object.entries(metadata ?? {}).map(([key, dimension]): [Dimension, string[]] => {
      const value = Object.hasOwn(own, key) ? [String(own[key])] : []
      return [dimension, value]
    }),
  ]
  const parts: string[] = []
  for (const [dimension, values] of dimensions) {
    // What cannot be looked into may be anything, and is held against the rule.
    const isMeant =
      values?.some((value) => dimension?.mode === 'filter' && dimension.values.includes(value)) ?? true
    if (dimension?.mode === 'filter' && !isMeant) return undefined
    // What says nothing shares one part, so that silence is no way around a limit.
    if (dimension?.mode === 'partition') parts.push(values?.[0] ?? '')
  }
  return parts
}

/** Every model that a request may be taken to name; undefined for one that cannot be looked into. */
function modelsOf({ url, body }: Step): string[] | undefined {
  if (body instanceof ReadableStream) return undefined
  const text = textOf({ body })
  const told = text === null ? [] : modelsInText(text)
  return told && [...modelsInUrl(decode(url.pathname), url.searchParams), ...told]
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path // escapes that are none name no model
  }
}
