import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { at, chat, type LineOptions, ledger, newKey, post, upstream } from './client.ts'
import { configFor, env, tokens } from './config.ts'
import { type Started, startGateway } from './launch.ts'
import { isStream, item, open } from './suites/run-kit.ts'
import type { Target } from './target.ts'

/** An idle Durable Object is put to sleep after 10 s; its sockets stay open. */
const asleepMs = 14_000
const limits = { detachSeconds: 24, windowBytes: 20_000 }
const timeout = asleepMs + 30_000

let gateway: Started
let target: Target

beforeAll(async () => {
  const workers = inject('targets').workers
  if (!workers) throw new Error('workers was not started')
  gateway = await startGateway('workers', { ...configFor(workers.upstream), limits }, env)
  target = { ...workers, url: gateway.url, ws: gateway.url.replace('http', 'ws') }
})
afterAll(() => gateway?.stop())

const as = (token: string): LineOptions => ({
  gateway: 'locked',
  headers: { 'cf-aig-authorization': `Bearer ${token}` },
})
const taken = (id: string, options: LineOptions = {}) =>
  open(target, { ...options, search: `?session=${id}` })

// All at once, so that they sleep together.
describe.concurrent('workers, after a hibernation', { timeout }, () => {
  test('a session and its runs are still there', async () => {
    const line = await open(target)
    const key = newKey()
    const request = item({ key, events: 30 }, { eventId: newKey() })
    const eventId = line.create(request)
    const first = await line.result(eventId)
    const runId = first.at(-1)?.metadata.runId
    await sleep(asleepMs)

    const before = line.frames.length
    line.create(request)
    await line.next((frame) => line.frames.indexOf(frame) > before && frame.type === 'universal.done')
    const again = line.frames.slice(before)
    expect(again[0]).toMatchObject({ type: 'universal.created', metadata: { attached: true, runId } })
    expect(again.filter(isStream)).toEqual(first.filter(isStream))
    expect(again.at(-1)).toEqual(first.at(-1))
    expect(await ledger(target, key)).toHaveLength(1)
    expect(await (await fetch(at(target, `/run/${runId}`))).json()).toMatchObject({ outcome: 'completed' })
    expect(line.frames.filter((frame) => frame.type === 'session.ready')).toHaveLength(1)
    line.close()
  })

  test('a run is still its token’s alone', async () => {
    const response = await post(
      at(target, '/openai/chat/completions', 'locked'),
      chat('x', { stream: true }),
      {
        ...as(tokens.locked).headers,
        ...upstream({ text: 'secret' }),
        'cf-aig-on-disconnect': 'detach',
        'cf-aig-event-id': 'theirs',
      },
    )
    await response.text()
    const home = String(response.headers.get('cf-aig-run-id')).slice(0, 36)
    await sleep(asleepMs)
    for (const _ of [1, 2]) {
      const line = await taken(home, as(tokens.all))
      expect(line.id).not.toBe(home)
      expect(line.frames[0]?.session).toMatchObject({ resumed: false })
      line.send({ type: 'universal.resume', eventId: 'theirs' })
      const refused = await line.next((frame) => frame.type !== 'session.ready')
      expect(refused).toMatchObject({ type: 'universal.error', error: { code: 'expired' } })
      line.close()
      await line.closed
    }
  })
})
