import type { Price, PriceSettings } from '../prices.ts'
import { fits } from '../wildcard.ts'

/** A rule of the list. */
export interface PriceRule extends Readonly<PriceSettings> {
  /** What holds instead from a day on (UTC), or between two times of every day; the last that applies. */
  readonly when?: readonly ({ readonly from?: string; readonly hours?: readonly string[] } & Price)[]
}

/** Prices of one provider. */
export interface PriceBook {
  readonly rules: readonly PriceRule[]
  /** Other providers' books that hold for models that are not in this one. */
  readonly others?: readonly string[]
}

/** The list prices of many providers, at a day. */
export interface PriceList {
  readonly source: string
  readonly date: string
  readonly books: Readonly<Record<string, PriceBook>>
}

/** Finds the price of a model; undefined for one that is not known. */
export type FindPrice = (model: string, at?: Date) => Price | undefined

/** Found prices are remembered for so many models, as clients may name any number of them. */
const rememberedMax = 1_000

/** Make the finder of one provider's prices: its own rules, then the list's. */
export function createFindPrice(
  own: readonly PriceRule[],
  list: PriceList | undefined,
  book: string,
): FindPrice {
  const found = new Map<string, PriceRule | undefined>()
  let levels: readonly Level[] | undefined
  const find = (model: string): PriceRule | undefined => {
    levels ??= levelsOf(own, list, book).map(createLevel)
    const names = spellingsOf(model)
    for (const level of levels)
      for (const name of names) {
        const rule = level(name)
        if (rule) return rule
      }
    return undefined
  }
  return (model, at = new Date()) => {
    if (!found.has(model)) {
      if (found.size >= rememberedMax) found.clear()
      found.set(model, find(model))
    }
    const rule = found.get(model)
    return rule && (rule.when?.findLast((later) => holds(later, at)) ?? rule)
  }
}

function levelsOf(
  own: readonly PriceRule[],
  list: PriceList | undefined,
  name: string,
): (readonly PriceRule[])[] {
  const book = list && Object.hasOwn(list.books, name) ? list.books[name] : undefined
  const others = (book?.others ?? []).map((other) => list?.books[other]?.rules ?? [])
  return [own, book?.rules ?? [], ...others]
}

function holds({ from, hours }: { from?: string; hours?: readonly string[] }, at: Date): boolean {
  const now = at.toISOString()
  if (from !== undefined && now < from) return false
  if (!hours) return true
  const [start = '', end = ''] = hours
  const time = now.slice(11, 16)
  return start <= end ? start <= time && time < end : start <= time || time < end
}

/** Finds the rule that fits a name best. */
type Level = (name: string) => PriceRule | undefined

function createLevel(rules: readonly PriceRule[]): Level {
  const exact = new Map<string, PriceRule>()
  const open: { readonly parts: readonly string[]; readonly letters: number; readonly rule: PriceRule }[] = []
  for (const rule of rules)
    for (const model of [rule.model].flat()) {
      const name = model.toLowerCase()
      if (name.includes('*'))
        open.push({ parts: name.split('*'), letters: name.replaceAll('*', '').length, rule })
      else if (!exact.has(name)) exact.set(name, rule)
    }
  open.sort((one, other) => other.letters - one.letters)
  return (name) => exact.get(name) ?? open.find(({ parts }) => fits(name, parts))?.rule
}

/** A day, a version of Bedrock's or a word that names a release of the same model. */
const release =
  /[-@]20\d\d-?\d\d-?\d\d(?=$|[-:])|[-@]\d{2}-20\d{2}$|-v\d+(?::\d+\w?)?$|:\d+\w?$|[-@]latest$|@default$|:(?:beta|exacto|floor|nitro|online|thinking)$/

/**
 * A name as it stands, without what providers put before it (`models/`, an author, Bedrock's regions), and without
 * its release; from the most to the least that was said.
 */
function spellingsOf(model: string): readonly string[] {
  const whole = model
    .toLowerCase()
    .trim()
    .replace(/^models\//, '')
  const bare = whole.slice(whole.lastIndexOf('/') + 1)
  const named = bare.replace(
    /^(?:[a-z]{2,6}(?:-gov)?\.)?(?:anthropic|openai|meta|mistral|google|cohere)\./,
    '',
  )
  const all = [whole, bare, named].flatMap((name) => [name, ...withoutRelease(name)])
  return [...new Set(all)]
}

function withoutRelease(name: string): string[] {
  const shorter = name.replace(release, '')
  return shorter === name || shorter === '' ? [] : [shorter, ...withoutRelease(shorter)]
}
