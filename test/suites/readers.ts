import { request as httpRequest } from 'node:http'
import { expect, test } from 'vitest'
import { at, chat, ended, ledger, newKey, post, seen, upstream } from '../client.ts'
import { tokens } from '../config.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import type { Target } from '../target.ts'
import { isStream, item, open, streamed, textOf, truth } from './run-kit.ts'

/** Bytes that no buffers on the way would hold. */
const long = 60 << 20

const isEnd = (type: string): boolean => type === 'universal.done' || type === 'universal.error'

/** PROTOCOL.md, "universal.ack" and "Runs over HTTP". */
export function readersSuite(target: Target): void {
  windowSuite(target)
  httpSuite(target)
}

function windowSuite(target: Target): void {
  test('a run whose events are not acked waits, and no other does', async () => {
    const line = await open(target)
    const key = newKey()
    const slow = line.create(item({ key, bytes: 4 << 20, delay: 500 }, { raw: true }))
    line.send({ type: 'universal.ack', eventId: slow, seq: -1 })
    const quick = await line.result(line.create(item({ events: 50 })))
    expect(quick.at(-1)?.metadata.outcome).toBe('completed')
    await line.next((frame) => isStream(frame) && frame.metadata.eventId === slow)
    await new Promise((wake) => setTimeout(wake, 300))
    const sizes = () =>
      streamed(line.frames.filter((frame) => frame.metadata?.eventId === slow)).map(
        ({ data, encoding }) => Buffer.from(data ?? '', encoding ?? 'utf8').length,
      )
    const sizeOf = () => sizes().reduce((sum, size) => sum + size, 0)
    const crossing = sizes().at(-1) ?? 0
    expect(sizeOf() - crossing).toBeLessThan(262_144) // the window, and the piece that crosses it
    expect(line.frames.some(({ type, metadata }) => isEnd(type) && metadata.eventId === slow)).toBe(false)
    const acks = setInterval(() => {
      const seq = streamed(line.frames).filter((frame) => frame.metadata.eventId === slow).length - 1
      line.send({ type: 'universal.ack', eventId: slow, seq })
    }, 5)
    const frames = await line.result(slow)
    clearInterval(acks)
    expect(frames.at(-1)?.metadata.outcome).toBe('completed')
    expect(sizeOf()).toBe(4 << 20)
    line.close()
  })

  test('an event that a client is not sent takes no room in the window', async () => {
    const text = `${': PROCESSING, please wait\n\n'.repeat(20_000)}data: {"a":1}\n\ndata: [DONE]\n\n`
    const asked = new URLSearchParams({ headers: '{"content-type":"text/event-stream"}', text })
    const line = await open(target)
    const eventId = line.create(item({}, {}, { model: `emulate?${asked}`, stream: true }))
    line.send({ type: 'universal.ack', eventId, seq: -1 })
    const frames = await line.result(eventId)
    expect(streamed(frames)).toMatchObject([{ metadata: { seq: 20_000 }, response: { a: 1 } }])
    expect(frames.at(-1)?.metadata).toMatchObject({ seq: 20_001, outcome: 'completed' })
    line.close()
  })
}

function httpSuite(target: Target): void {
  test('HTTP: a detached run goes on, is read elsewhere, told of, and stopped', async () => {
    const key = newKey()
    const control = { key, interval: 40, events: 60 }
    const leaving = new AbortController()
    const url = at(target, '/openai/chat/completions')
    const body = JSON.stringify(chat('héllo wörld', { stream: true }))
    const headers = {
      ...upstream(control),
      'cf-aig-on-disconnect': 'detach',
      'content-type': 'application/json',
    }
    const response = await fetch(url, { method: 'POST', body, headers, signal: leaving.signal })
    const runId = response.headers.get('cf-aig-run-id')
    expect(runId).toMatch(/./)
    await response.body!.getReader().read()
    leaving.abort()
    const state = await (await fetch(at(target, `/run/${runId}`))).json()
    expect(state).toMatchObject({ runId, state: 'running', status: 200 })
    const rest = await fetch(at(target, `/run/${runId}/resume?from=20`))
    const whole = await truth(target, control)
    const cut = whole.split('\n\n').slice(0, 20).join('\n\n').length + 2
    expect(await rest.text()).toBe(whole.slice(cut))
    expect(await (await fetch(at(target, `/run/${runId}`))).json()).toMatchObject({
      state: 'done',
      outcome: 'completed',
      upstreamStopped: true,
    })
    expect(await (await fetch(at(target, `/run/${runId}/resume?from=9999`))).text()).toBe('')
    expect(await ledger(target, key)).toHaveLength(1)
  })

  test('HTTP: a run is stopped within 100 ms', async () => {
    const attempt = async () => {
      const key = newKey()
      const headers = {
        ...upstream({ key, interval: 20, events: 1_000 }),
        'cf-aig-on-disconnect': 'detach',
      }
      const long = await post(at(target, '/openai/chat/completions'), chat('x', { stream: true }), headers)
      const url = at(target, `/run/${long.headers.get('cf-aig-run-id')}`)
      const left = await clock(target)
      const stopped = await fetch(url, { method: 'DELETE' })
      expect(await stopped.json()).toMatchObject({ outcome: 'cancelled', upstreamStopped: true })
      await expect(long.text()).rejects.toThrow()
      return stoppedAfter(target, key, left)
    }
    expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
  })

  test('HTTP: who asks for no body holds no run up', async () => {
    const key = newKey()
    // More than is kept, but slowly, so that it can still be asked for from its beginning.
    const slow = { bytes: 24 << 20, interval: 5 }
    const headers = { ...upstream({ key, ...slow }), 'cf-aig-on-disconnect': 'detach' }
    const response = await post(at(target, '/openai/chat/completions'), chat('x'), headers)
    await response.body!.cancel()
    const url = at(target, `/run/${response.headers.get('cf-aig-run-id')}`)
    for (const path of ['/resume', '']) {
      const head = await fetch(url + path, { method: 'HEAD' })
      expect([head.status, await head.text()]).toEqual([200, ''])
    }
    expect((await ended(target, key))?.how).toBe('finished')
  })

  test.each(['fin', 'rst'])(
    'HTTP: a detached run goes on when its client leaves before headers: %s',
    async (how) => {
      const key = newKey()
      const asking = httpRequest(at(target, '/openai/files'), {
        method: 'POST',
        headers: { ...upstream({ key, bytes: long, delay: 300 }), 'cf-aig-on-disconnect': 'detach' },
      })
      asking.on('error', () => undefined)
      asking.end('x')
      await seen(target, key)
      if (how === 'fin') asking.destroy()
      else asking.socket?.resetAndDestroy()
      expect((await ended(target, key))?.how).toBe('finished')
    },
  )

  test('HTTP: a detached answer without a body, and one that is an error', async () => {
    for (const [control, status] of [
      [{ status: 204 }, 204],
      [{ status: 429 }, 429],
    ] as const) {
      const headers = { ...upstream(control), 'cf-aig-on-disconnect': 'detach' }
      const response = await post(at(target, '/openai/chat/completions'), chat('x'), headers)
      expect(response.status).toBe(status)
      await response.text()
      const runId = response.headers.get('cf-aig-run-id')
      const outcome = status < 400 ? 'completed' : 'failed'
      const state = await fetch(at(target, `/run/${runId}`))
      expect(await state.json()).toMatchObject({ state: 'done', outcome, status })
    }
  })

  test('an event too large for a row is passed on all the same', async () => {
    const line = await open(target)
    const text = 'x'.repeat(3 << 20)
    const query = { stream: true, messages: [{ role: 'user', content: text }] }
    const frames = await line.result(line.create(item({ events: 2 }, { query })))
    expect(frames.at(-1)?.metadata.outcome).toBe('completed')
    expect(JSON.stringify(streamed(frames))).toContain(text)
    line.close()
  })

  test('HTTP: a run that is unknown, or not theirs, is 404', async () => {
    const headers = { 'cf-aig-authorization': `Bearer ${tokens.locked}`, ...upstream({ events: 3 }) }
    const url = at(target, '/openai/chat/completions', 'locked')
    const detach = { ...headers, 'cf-aig-on-disconnect': 'detach' }
    const response = await post(url, chat('x', { stream: true }), detach)
    const runId = response.headers.get('cf-aig-run-id')
    await response.text()
    const theirs = { 'cf-aig-authorization': `Bearer ${tokens.all}` }
    for (const id of [runId, '0199aaaa-0000-7000-8000-000000000000-0', 'x']) {
      for (const [method, path] of [
        ['GET', ''],
        ['DELETE', ''],
        ['GET', '/resume?from=0'],
      ] as const) {
        const refused = await fetch(at(target, `/run/${id}${path}`, 'locked'), { method, headers: theirs })
        expect([refused.status, await refused.json()]).toEqual([404, { error: 'Request not found' }])
      }
    }
    expect((await fetch(at(target, `/run/${runId}`, 'locked'))).status).toBe(401)
    expect((await fetch(at(target, `/run/${runId}`, 'locked'), { headers })).status).toBe(200)
  })

  test('what a socket began is finished over HTTP, and the other way round', async () => {
    const control = { interval: 10, events: 60 }
    const whole = await truth(target, control)
    const line = await open(target)
    line.create(item(control, { raw: true }))
    const { runId } = (await line.next((frame) => frame.type === 'universal.created')).metadata
    await line.next((frame) => isStream(frame) && frame.metadata.seq === 19)
    line.socket.terminate()
    const had = streamed(line.frames).slice(0, 20)
    const rest = await (await fetch(at(target, `/run/${runId}/resume?from=20`))).text()
    expect(textOf(had) + rest).toBe(whole)

    const headers = { ...upstream(control), 'cf-aig-on-disconnect': 'detach' }
    const url = at(target, '/openai/chat/completions')
    const response = await post(url, chat('héllo wörld', { stream: true }), headers)
    const id = response.headers.get('cf-aig-run-id') ?? ''
    await response.body!.cancel()
    const other = await open(target)
    other.send({ type: 'universal.resume', runId: id, eventId: 'taken', from: 0 })
    const frames = await other.result('taken')
    expect(frames.at(-1)?.metadata).toMatchObject({ runId: id, outcome: 'completed' })
    expect(streamed(frames)).toHaveLength(62)
    other.close()
  })
}
