// Reduces the price list of @pydantic/genai-prices (MIT) to the books of the providers in our table, and writes it to
// src/observe/prices.json: `node adapters/prices.mjs`; with `--check` it only tells whether that is what is there. Its
// newest version is taken by `npm i -D -E @pydantic/genai-prices`, its day by `npm view @pydantic/genai-prices time`.
import { readFileSync, writeFileSync } from 'node:fs'
import { calcPrice, findProvider } from '@pydantic/genai-prices'
import { createFindPrice } from '../src/observe/prices.ts'
import { table } from '../src/providers/table.ts'

/** Day of the version that is pinned. */
const date = '2026-09-23'
const file = new URL('../src/observe/prices.json', import.meta.url)
const { version } = JSON.parse(
  readFileSync(new URL('../node_modules/@pydantic/genai-prices/package.json', import.meta.url), 'utf8'),
)

const rateOf = {
  input_mtok: 'input',
  output_mtok: 'output',
  cache_read_mtok: 'cache_read',
  cache_write_mtok: 'cache_write',
  cache_write_1h_mtok: 'cache_write_1h',
  output_reasoning_mtok: 'reasoning',
  input_audio_mtok: 'audio_input',
  output_audio_mtok: 'audio_output',
  cache_audio_read_mtok: 'audio_cache_read',
  input_image_mtok: 'image_input',
  output_image_mtok: 'image_output',
  cache_image_read_mtok: 'image_cache_read',
}

/** One price of theirs as one of ours; what has tiers is told for each. */
function toPrice(prices) {
  const starts = Object.values(prices).flatMap((price) => (price.tiers ?? []).map(({ start }) => start))
  const at = (tokens) => {
    const rates = Object.entries(rateOf).flatMap(([theirs, ours]) => {
      const price = prices[theirs]
      if (price === undefined) return []
      const tier = (price.tiers ?? []).findLast(({ start }) => start < tokens)
      return [[ours, tier?.price ?? price.base ?? price]]
    })
    return Object.fromEntries(rates)
  }
  const hour = prices.input_audio_hours ?? prices.audio_hours
  const above = [...new Set(starts)].sort((one, other) => one - other)
  const kinds = Object.keys(prices).filter((kind) => !(kind in rateOf))
  return {
    // An empty price is that of a free model; one for pages or hours only says nothing of tokens.
    ...((Object.keys(at(0)).length > 0 || kinds.length === 0) && { per_million: at(0) }),
    ...(prices.requests_kcount && { per_request: prices.requests_kcount / 1_000 }),
    ...(prices.web_searches_kcount && { per_search: prices.web_searches_kcount / 1_000 }),
    ...(hour && { per_audio_hour: hour }),
    ...(above.length > 0 && {
      above: above.map((input_tokens) => ({ input_tokens, per_million: at(input_tokens + 1) })),
    }),
  }
}

/** Their matches as patterns. Expressions are of dated names, which are found without their dates. */
function toPatterns(match) {
  if (match.or) return match.or.flatMap(toPatterns)
  if (match.and) return match.and.flatMap(toPatterns)
  if (match.equals) return [match.equals]
  if (match.starts_with) return [`${match.starts_with}*`]
  if (match.ends_with) return [`*${match.ends_with}`]
  return match.contains ? [`*${match.contains}*`] : []
}

/** Of prices that changed by a day, those that held before are history. */
function toRule({ match, prices }) {
  const all = Array.isArray(prices) ? prices : [{ prices }]
  const dated = all.filter(({ constraint }) => !constraint?.start_time)
  const base = dated.findLast(({ constraint }) => !constraint || constraint.start_date <= date)
  const later = [
    ...dated.filter(({ constraint }) => constraint?.start_date > date),
    ...all.filter(({ constraint }) => constraint?.start_time),
  ].map(({ constraint, prices }) => ({
    ...(constraint.start_date && { from: constraint.start_date }),
    ...(constraint.start_time && {
      hours: [constraint.start_time.slice(0, 5), constraint.end_time.slice(0, 5)],
    }),
    ...toPrice(prices),
  }))
  return { model: toPatterns(match), ...toPrice(base.prices), ...(later.length > 0 && { when: later }) }
}

function toBook({ models, fallback_model_providers: others }) {
  const rules = models.map(toRule).filter((rule) => Object.keys(rule).length > 1 && rule.model.length > 0)
  return { rules, ...(others && { others }) }
}

const wanted = Object.entries(table).map(([slug, row]) => row.prices ?? slug)
const books = {}
const add = (id) => {
  const provider = books[id] ? undefined : findProvider({ providerId: id })
  if (provider?.id !== id) return
  books[id] = toBook(provider)
  provider.fallback_model_providers?.forEach(add)
}
wanted.forEach(add)

const list = { source: `@pydantic/genai-prices ${version}`, date, books }
assertSame(list)
const rules = Object.values(books).flatMap((book) => book.rules)
if (!process.argv.includes('--check')) writeFileSync(file, toText(list))
else if (readFileSync(file, 'utf8') !== toText(list))
  throw new Error('src/observe/prices.json is not of this version')
console.log(
  `${rules.length} rules of ${Object.keys(books).length} providers: ${Object.keys(books).join(' ')}`,
)

/** One rule to a line, so that a change of prices can be read. */
function toText({ books, ...head }) {
  const texts = Object.entries(books).map(([id, { rules, ...rest }]) => {
    const own = Object.entries(rest).map(
      ([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)},\n`,
    )
    return `${JSON.stringify(id)}: {${own.join('')}"rules": [\n${rules.map((rule) => JSON.stringify(rule)).join(',\n')}\n]}`
  })
  return `${JSON.stringify(head).slice(0, -1)},"books":{\n${texts.join(',\n')}\n}}\n`
}

/** Every name that they know must have the same price with us. */
function assertSame({ books }) {
  const now = new Date(`${date}T12:00:00Z`)
  const wrong = Object.keys(books).flatMap((id) => {
    const find = createFindPrice([], list, id)
    const names = findProvider({ providerId: id }).models.flatMap(({ match, id }) => [id, ...namesIn(match)])
    return names
      .filter((name) => {
        const theirs = calcPrice({ input_tokens: 1e6 }, name, { providerId: id, timestamp: now })?.model_price
        const ours = find(name, now)
        return (
          theirs &&
          JSON.stringify(ours?.per_million ?? {}) !== JSON.stringify(toPrice(theirs).per_million ?? {})
        )
      })
      .map((name) => `${id} ${name}`)
  })
  if (wrong.length > 0) throw new Error(`not the same: ${wrong.join(', ')}`)
}

function namesIn(match) {
  const inner = (match.or ?? match.and ?? []).flatMap(namesIn)
  return [...inner, match.equals ?? match.starts_with ?? match.contains ?? match.ends_with].filter(Boolean)
}
