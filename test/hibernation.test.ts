import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import {
  at,
  chat,
  type GatewayFrame,
  type Line,
  type LineOptions,
  ledger,
  newKey,
  post,
  upstream,
} from './client.ts'
import { configFor, env, tokens } from './config.ts'
import { type Started, startGateway } from './launch.ts'
import { isStream, item, open, streamed } from './suites/run-kit.ts'
import type { Target } from './target.ts'

const rawSocket = (line: Line): Socket => (line.socket as unknown as { _socket: Socket })._socket

/** An idle Durable Object is put to sleep after 10 s; its sockets stay open. */
const asleepMs = 12_500
const detachMs = 18_000
const limits = { detachSeconds: detachMs / 1_000, windowBytes: 20_000 }
const timeout = asleepMs + detachMs + 15_000

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

  test.each(['ping', 'close', 'reset'])(
    'a session is taken over, whatever its old socket does: %s',
    async (how) => {
      const old = await open(target)
      await sleep(asleepMs)
      const line = await taken(old.id)
      expect(line.frames[0]?.session).toMatchObject({ id: old.id, resumed: true })
      if (how === 'ping') old.send({ type: 'session.ping', id: 'old' })
      else if (how === 'close') old.close()
      else rawSocket(old).resetAndDestroy()
      if (how === 'ping') expect((await old.closed).code).toBe(4409)
      await sleep(1_000)
      line.send({ type: 'session.ping', id: 'new' })
      await line.next((frame) => frame.type === 'session.pong')
      expect(line.frames.filter((frame) => frame.type === 'session.pong')).toEqual([
        { type: 'session.pong', id: 'new' },
      ])
      expect(old.frames.map((frame) => frame.type)).toEqual(['session.ready'])
      line.close()
    },
  )

  test.each(['of this session', 'of another', 'under way'])(
    'a reading that waited for an ack goes on with it: a run %s',
    async (which) => {
      const first = await open(target)
      const eventId = first.create(item({ events: 130, interval: 10 }, { raw: true }))
      const { runId } = (await first.next((frame) => frame.type === 'universal.created')).metadata
      const line = which === 'of another' ? await open(target) : first
      const isAttached = (frame: GatewayFrame) => frame.metadata?.attached === true
      const own = () => line.frames.slice(line.frames.findIndex(isAttached))
      const ack = (seq: number) => line.send({ type: 'universal.ack', eventId, seq })
      if (which === 'of this session') {
        await first.result(eventId)
        ack(-1)
      }
      line.send({ type: 'universal.resume', runId, eventId, from: 0, raw: true })
      await line.next(isAttached)
      await until(() => own().some(isStream))
      ack(0)
      await sleep(asleepMs)
      const had = streamed(own()).length
      expect(had).toBeGreaterThan(20)
      expect(had).toBeLessThan(120)
      ack(had - 20)
      await until(() => streamed(own()).length > had)
      const acking = setInterval(() => ack(streamed(own()).length - 1), 20)
      await until(() => own().some((frame) => frame.type === 'universal.done'))
      clearInterval(acking)
      expect(streamed(own()).map((frame) => frame.metadata.seq)).toEqual([...Array(133).keys()])
      expect(own().filter((frame) => !isStream(frame))).toMatchObject([
        { type: 'universal.created', metadata: { runId } },
        { type: 'universal.done', metadata: { runId, seq: 132, outcome: 'completed' } },
      ])
      for (const one of new Set([first, line])) one.close()
    },
  )

  test('what session.update set still holds', async () => {
    const line = await open(target, { headers: { 'cf-aig-max-attempts': '1' } })
    line.send({ type: 'session.update', headers: { 'cf-aig-request-timeout': '200' } })
    await line.next((frame) => frame.type === 'session.updated')
    await sleep(asleepMs)
    const late = await line.result(line.create(item({ delay: 800 })))
    expect(late[0]?.metadata.status).toBe(504)
    line.close()
  })

  test('a session that was left expires, also one that was left in its sleep', async () => {
    const [one, other] = await Promise.all([open(target), open(target)])
    one.close()
    await sleep(asleepMs)
    const back = await taken(one.id)
    expect(back.frames[0]?.session).toMatchObject({ resumed: true })
    for (const line of [back, other]) line.close()
    await sleep(detachMs + 3_000)
    for (const { id } of [one, other]) {
      const fresh = await taken(id)
      expect(fresh.frames[0]?.session).toMatchObject({ resumed: false })
      fresh.close()
    }
  })
})

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 5_000; !isSo(); await sleep(10)) {
    if (Date.now() > end) throw new Error('it never came')
  }
}
