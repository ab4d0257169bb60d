import { describe, expect, test } from 'vitest'
import { Notes } from '../../src/dialects/notes.ts'
import { catchFailure, checkRequest } from './dialect-checks.ts'
import { dialects, type RequestFixture, readFixture, readHubRequests } from './dialects.ts'

describe.each([...dialects])('%s', (name, dialect) => {
  const fixture = readFixture<RequestFixture>(name, 'requests.json')
  const requests = readHubRequests(fixture.model)

  test('says where its requests are from', () => expect(fixture.source).toMatch(/reference|schemas/))

  test.each([...requests.keys()])('%s', (what) => void checkRequest(name, dialect, what))
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
