import { afterAll, describe, expect, test } from 'vitest'
import { checkAnswer, checkErrors, checkRequest, checkStream, type Found } from './dialect-checks.ts'
import { type AnswerFixture, dialects, readFixture, readHubRequests } from './dialects.ts'

/** A feature, and what shows it for a dialect. */
interface Row {
  readonly name: string
  readonly check: (dialect: string) => Found
}

const dialectOf = (name: string) => dialects.get(name) ?? expect.fail(`no dialect ${name}`)

const answers = Object.keys(readFixture<AnswerFixture>('openai', 'answers.json').cases)
const streamed = ['text', 'tool calls', 'reasoning', 'citations']

const rows: readonly Row[] = [
  ...[...readHubRequests('m').keys()].map((what) => ({
    name: `asks: ${what}`,
    check: (name: string) => checkRequest(name, dialectOf(name), what),
  })),
  ...answers.map((what) => ({
    name: `answers: ${what}`,
    check: (name: string) => checkAnswer(name, dialectOf(name), what),
  })),
  ...streamed.map((what) => ({
    name: `streams: ${what}`,
    check: (name: string) => checkStream(name, dialectOf(name), what),
  })),
  { name: 'errors', check: checkErrors },
  { name: 'embeddings', check: checkEmbeddings },
]

function checkEmbeddings(name: string): Found {
  const { embeddings, speaks } = dialectOf(name)
  if (embeddings || speaks?.embeddings) return { verdict: 'passes' }
  return { verdict: 'none', reason: 'refused: this wire has no embeddings here' }
}

const cells = new Map<string, Found>()

/** What every dialect makes of every feature. */
describe.each([...dialects.keys()])('%s', (dialect) => {
  test.each(rows.map((row) => [row.name, row] as const))('%s', (_, { name, check }) => {
    const found = check(dialect)
    if (found.verdict !== 'passes') expect(found.reason).toMatch(/\w/)
    cells.set(`${name}\n${dialect}`, found)
  })
})

afterAll(() => {
  const notes: string[] = []
  const noteOf = ({ verdict, reason = '' }: Found): string => {
    if (verdict === 'passes') return verdict
    const text = `${verdict}: ${reason}`
    if (!notes.includes(text)) notes.push(text)
    return `${verdict} ${notes.indexOf(text) + 1}`
  }
  const names = [...dialects.keys()]
  const lines = rows.map(({ name }) => [
    name,
    ...names.map((dialect) => {
      const found = cells.get(`${name}\n${dialect}`)
      return found ? noteOf(found) : ''
    }),
  ])
  const widths = ['', ...names].map((head, column) =>
    Math.max(head.length, ...lines.map((line) => line[column]?.length ?? 0)),
  )
  const print = (line: readonly string[]) =>
    line.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  ')
  const table = [print(['', ...names]), ...lines.map(print)]
  console.log([...table, '', ...notes.map((note, index) => `${index + 1} ${note}`)].join('\n'))
  for (const [name, ...found] of lines) expect(found, name).not.toContain('')
})
