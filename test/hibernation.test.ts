import { expect, inject, test } from 'vitest'
import { at, chat, connect, type GatewayFrame, ledger, newKey, upstream } from './client.ts'

/** An idle Durable Object is put to sleep after 10 s; its sockets stay open. */
const asleepMs = 14_000
const isStream = (frame: GatewayFrame): boolean => frame.type === 'universal.stream'

test('workers: a session and its runs outlive a hibernation', { timeout: asleepMs + 15_000 }, async () => {
  const target = inject('targets').workers
  expect(target, 'workers was not started').toBeDefined()
  const line = await connect(target!, { protocols: ['trunkline.v1'] })
  const key = newKey()
  const request = {
    eventId: newKey(),
    provider: 'openai',
    endpoint: 'chat/completions',
    headers: upstream({ key, events: 30 }),
    query: chat('x', { stream: true }),
  }
  const eventId = line.create(request)
  const first = await line.result(eventId)
  const runId = first.at(-1)?.metadata.runId
  await new Promise((wake) => setTimeout(wake, asleepMs))

  const before = line.frames.length
  line.create(request)
  await line.next((frame) => line.frames.indexOf(frame) > before && frame.type === 'universal.done')
  const again = line.frames.slice(before)
  expect(again[0]).toMatchObject({ type: 'universal.created', metadata: { attached: true, runId } })
  expect(again.filter(isStream)).toEqual(first.filter(isStream))
  expect(again.at(-1)).toEqual(first.at(-1))
  expect(await ledger(target!, key)).toHaveLength(1)
  expect(await (await fetch(at(target!, `/run/${runId}`))).json()).toMatchObject({ outcome: 'completed' })
  expect(line.frames.filter((frame) => frame.type === 'session.ready')).toHaveLength(1)
  line.close()
})
