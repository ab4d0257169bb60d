import { expect } from 'vitest'
import { toChunks, toCompletion } from '../../src/dialects/chunks.ts'
import type { Dialect } from '../../src/dialects/dialect.ts'
import { Failure, readFailure } from '../../src/dialects/failure.ts'
import { createAws, createSse } from '../../src/dialects/framing.ts'
import type { Chat, Completion } from '../../src/dialects/hub.ts'
import { Notes } from '../../src/dialects/notes.ts'
import {
  type AnswerFixture,
  base,
  type RequestCase,
  type RequestFixture,
  readFixture,
  readHubRequests,
  streamsOf,
  toExpected,
} from './dialects.ts'

/** What a check found; it throws where the fixture says otherwise. */
export interface Found {
  readonly verdict: 'passes' | 'dropped' | 'refused' | 'none'
  readonly reason?: string
}

const passes: Found = { verdict: 'passes' }

/** What a request of the hub becomes is what its fixture says, or it is refused as it says. */
export function checkRequest(name: string, dialect: Dialect, what: string): Found {
  const fixture = readFixture<RequestFixture>(name, 'requests.json')
  const chat = readHubRequests(fixture.model).get(what)
  const wanted = fixture.cases[what]
  if (!wanted || !chat) return expect.fail(`fixtures/${name}/requests.json has no case "${what}"`)
  if (wanted.refused !== undefined) return checkRefusal(name, dialect, chat, wanted.refused)
  const notes = new Notes(name, false)
  const { path, body, headers } = dialect.request(chat, notes)
  expect(JSON.parse(JSON.stringify(body))).toEqual(bodyOf(fixture, wanted))
  expect(path).toBe(wanted.path ?? fixture.path)
  expect(headers).toEqual(fixture.headers)
  expect(notes.dropped).toEqual(wanted.dropped ?? [])
  return wanted.dropped ? { verdict: 'dropped', reason: wanted.dropped.join(', ') } : passes
}

/** A clear 400 that names the field; in lenient mode it is left out, and told. */
function checkRefusal(name: string, dialect: Dialect, chat: Chat, field: string): Found {
  const refusal = catchFailure(() => dialect.request(chat, new Notes(name, false)))
  expect(refusal).toMatchObject({ status: 400, param: field })
  expect(refusal.message).toContain(field)
  const lenient = new Notes(name, true)
  dialect.request(chat, lenient)
  expect(lenient.dropped).toContain(field)
  return { verdict: 'refused', reason: refusal.message }
}

/** The body that a case wants. */
function bodyOf({ cases }: RequestFixture, { body, add, addTools }: RequestCase): unknown {
  const text = cases.text?.body ?? {}
  if (addTools) return { ...text, ...cases.tools?.add, ...addTools }
  return body ?? { ...text, ...add }
}

/** A whole answer is the completion that its fixture says. */
export function checkAnswer(name: string, dialect: Dialect, what: string): Found {
  const wanted = readFixture<AnswerFixture>(name, 'answers.json').cases[what]
  if (!wanted) return expect.fail(`fixtures/${name}/answers.json has no case "${what}"`)
  if (wanted.none !== undefined) return { verdict: 'none', reason: wanted.none }
  const completion = toCompletion(toChunks(dialect, wanted.response, base), base)
  expect(completion).toMatchObject({ object: 'chat.completion', ...toExpected(wanted) })
  expect(completion.choices).toEqual((toExpected(wanted) as Completion).choices)
  return passes
}

/** A stream adds up to the same as the whole answer of its name. */
export function checkStream(name: string, dialect: Dialect, what: string): Found {
  const wanted = readFixture<AnswerFixture>(name, 'answers.json').cases[what]
  if (wanted?.none !== undefined) return { verdict: 'none', reason: wanted.none }
  const bytes = streamsOf(name).get(what)
  if (!bytes) return expect.fail(`fixtures/${name} has no stream "${what}"`)
  const { choices, usage } = toExpected(wanted ?? {}) as Completion
  const completion = readStream(dialect, [bytes])
  expect(completion.choices).toEqual(choices)
  expect(completion.usage).toEqual(usage)
  return passes
}

/** Errors keep their status, words and names. */
export function checkErrors(name: string): Found {
  const { errors } = readFixture<AnswerFixture>(name, 'answers.json')
  expect(errors.length).toBeGreaterThan(0)
  for (const { status, body, failure } of errors)
    expect(readFailure(body, status)).toMatchObject({ status, ...failure })
  return passes
}

/** What a stream adds up to in the hub, read in these pieces. */
export function readStream(dialect: Dialect, pieces: readonly Uint8Array[]): Completion {
  const framing = dialect.framing === 'aws' ? createAws() : createSse()
  const events = dialect.events(base)
  const chunks = [...pieces.flatMap((piece) => framing.push(piece)), ...framing.end()].flatMap((event) =>
    events.push(event),
  )
  return toCompletion([...chunks, ...events.end()], base)
}

/** The failure that something throws. */
export function catchFailure(work: () => unknown): Failure {
  try {
    work()
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  return expect.fail('nothing was refused')
}
