import { type IncomingMessage, request } from 'node:http'
import { expect, test } from 'vitest'
import { at, chat, post, upstream } from '../client.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

/** An answer that broke off, as far as it came; status 0 where not even its headers did. */
interface Broken {
  readonly status: number
  readonly runId: string
  readonly events: number
}

const sent = 30
/** How often: what is lost is lost by luck. */
const times = 5
const path = '/openai/chat/completions'

/** Ask, and read until it breaks. Rejects with what ended well. */
function broken(url: string, method: string, headers: Record<string, string>): Promise<Broken> {
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, headers, agent: false })
    let text = ''
    let answer: IncomingMessage | undefined
    const settle = (): void =>
      resolve({
        status: answer?.statusCode ?? 0,
        runId: String(answer?.headers['cf-aig-run-id']),
        events: text.match(/^data: .*\n\n/gm)?.length ?? 0,
      })
    asking.on('error', settle)
    asking.on('response', (response) => {
      answer = response
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('error', settle)
      response.on('end', () => reject(new Error(`it ended as if it were whole: ${text.slice(-200)}`)))
    })
    asking.end(method === 'POST' ? JSON.stringify(chat('x', { stream: true })) : undefined)
  })
}

/** A stream that was cut looks cut, and is cut no sooner than where it was. */
export function breaksSuite(target: Target): void {
  const ask = (control: Control, more: Record<string, string> = {}): Promise<Broken> => {
    const headers = { 'content-type': 'application/json', ...upstream({ events: 60, ...control }), ...more }
    return broken(at(target, path), 'POST', headers)
  }
  const ways: [title: string, control: Control, more: Record<string, string>][] = [
    ['it just breaks', { reset: sent }, {}],
    ['a time-out was set', { reset: sent }, { 'cf-aig-request-timeout': '9000' }],
    ['it is kept as a run', { reset: sent }, { 'cf-aig-on-disconnect': 'detach' }],
  ]
  test.each(ways)('all that a provider sent comes before the break: %s', async (_, control, more) => {
    for (let time = 0; time < times; time += 1)
      expect(await ask(control, more)).toMatchObject({ status: 200, events: sent })
  })

  test('a provider that breaks off in the moment in which it sends', async () => {
    for (let time = 0; time < times; time += 1) {
      const { events } = await ask({ cut: sent })
      // Bun's fetch forgets what came in the same moment as the break.
      if (target.runtime !== 'bun') expect(events).toBe(sent)
    }
  })

  test('all that a broken run holds is read, from any event on', async () => {
    const { runId } = await ask({ reset: sent }, { 'cf-aig-on-disconnect': 'detach' })
    for (const from of [0, 1, sent - 1, sent]) {
      const rest = await broken(at(target, `/run/${runId}/resume?from=${from}`), 'GET', {})
      // Bun sends headers with the first bytes of a body.
      const isBare = target.runtime === 'bun' && from === sent
      expect(rest, `from ${from}`).toMatchObject({ status: isBare ? 0 : 200, events: sent - from })
    }
  })

  test('all that a cancelled run holds is read', async () => {
    const asked = { 'cf-aig-on-disconnect': 'detach', ...upstream({ events: 1_000, interval: 5 }) }
    const response = await post(at(target, path), chat('x', { stream: true }), asked)
    const runId = response.headers.get('cf-aig-run-id')
    const stopped = await fetch(at(target, `/run/${runId}`), { method: 'DELETE' })
    const { seq } = (await stopped.json()) as { seq: number }
    await response.text().catch(() => undefined)
    const rest = await broken(at(target, `/run/${runId}/resume`), 'GET', {})
    expect(rest).toEqual({ status: 200, runId, events: seq + 1 })
  })
}
