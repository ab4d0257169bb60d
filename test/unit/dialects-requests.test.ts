import { describe, expect, test } from 'vitest'
import { Failure } from '../../src/dialects/failure.ts'
import { Notes } from '../../src/dialects/notes.ts'
import { dialects, type RequestCase, type RequestFixture, readFixture, readHubRequests } from './dialects.ts'

/** The body that a case wants. */
function bodyOf({ cases }: RequestFixture, { body, add, addTools }: RequestCase): unknown {
  const text = cases.text?.body ?? {}
  if (addTools) return { ...text, ...cases.tools?.add, ...addTools }
  return body ?? { ...text, ...add }
}

describe.each([...dialects])('%s', (name, dialect) => {
  const fixture = readFixture<RequestFixture>(name, 'requests.json')
  const requests = readHubRequests(fixture.model)

  test('says where its requests are from', () => expect(fixture.source).toMatch(/reference|schemas/))

  test.each([...requests])('%s', (what, chat) => {
    const wanted = fixture.cases[what]
    if (!wanted) return expect.fail(`fixtures/${name}/requests.json has no case "${what}"`)
    const notes = new Notes(name, false)
    if (wanted.refused !== undefined) {
      const refusal = catchFailure(() => dialect.request(chat, notes))
      expect(refusal).toMatchObject({ status: 400, param: wanted.refused })
      expect(refusal.message).toContain(wanted.refused)
      // In lenient mode it is left out, and told.
      const lenient = new Notes(name, true)
      dialect.request(chat, lenient)
      expect(lenient.dropped).toContain(wanted.refused)
      return
    }
    const { path, body, headers } = dialect.request(chat, notes)
    expect(JSON.parse(JSON.stringify(body))).toEqual(bodyOf(fixture, wanted))
    expect(path).toBe(wanted.path ?? fixture.path)
    expect(headers).toEqual(fixture.headers)
    expect(notes.dropped).toEqual(wanted.dropped ?? [])
  })
})

test.each([...dialects])('%s: a switch that it has not is refused where it matters', (name, dialect) => {
  const { model, cases } = readFixture<RequestFixture>(name, 'requests.json')
  const [tool] = readHubRequests(model).get('tools')?.tools ?? []
  const other = { type: 'function', function: { name: 'clock' } } as const
  const chat = { model, messages: [], tools: [tool!, other], parallel_tool_calls: false }
  const ask = () => dialect.request(chat, new Notes(name, false))
  if (cases['one call at a time']?.dropped) expect(catchFailure(ask).param).toBe('parallel_tool_calls')
  else expect(JSON.stringify(ask().body)).toMatch(/parallel/)
  const forced = {
    ...chat,
    parallel_tool_calls: true,
    tool_choice: { type: 'function', function: other.function },
  } as const
  const isNamed = !/^(cohere|workers-ai)$/.test(name)
  const force = () => dialect.request(forced, new Notes(name, false))
  if (isNamed) expect(JSON.stringify(force().body)).toMatch(/"(name|allowedFunctionNames)":\[?"clock"/)
  else expect(catchFailure(force).param).toBe('tool_choice')
})

function catchFailure(work: () => unknown): Failure {
  try {
    work()
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
  return expect.fail('nothing was refused')
}
