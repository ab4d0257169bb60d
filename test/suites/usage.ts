import { describe, expect, test } from 'vitest'
import { at, chat, connect, ledger, newKey, post, seen, upstream } from '../client.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

/** Of a row that tells the usage of a stream only when asked. */
const path = '/vllm/chat/completions'
const body =
  '{ "model": "m",  "seed": 1.0, "stream":true, "messages":[{"role":"user","content":"one two three"}] }'
const asking = `{"stream_options":{"include_usage":true},${body.slice(1)}`

const isUsage = (event: string): boolean => /"choices":\[\],"usage":\{/.test(event)

/** PROTOCOL.md, "Usage of streams". */
export function usageSuite(target: Target): void {
  /** What the emulator answers to whoever asks for the usage, without the event that tells it. */
  const truth = async (control: Control): Promise<string> => {
    const { key: _, ...same } = control
    const whole = await (await post(target.upstream + path, asking, upstream(same))).text()
    const events = whole.split(/(?<=\r?\n\r?\n)/)
    expect(events.filter(isUsage)).toHaveLength(1)
    return events.filter((event) => !isUsage(event)).join('')
  }
  const controls: Control[] = [
    {},
    { crlf: true },
    { comments: true },
    { slice: 7 },
    { noDone: true },
    { events: 500 },
  ]

  test.each(controls)(
    'a stream’s usage is asked for, and its event kept from the client: %o',
    async (control) => {
      const key = newKey()
      const response = await post(at(target, path), body, upstream({ ...control, key }))
      expect(await response.text()).toBe(await truth(control))
      expect((await ledger(target, key))[0]?.body).toBe(asking)
    },
  )

  test.each(controls)('a run never has the event, and its usage is the provider’s: %o', async (control) => {
    const detach = { ...upstream(control), 'cf-aig-on-disconnect': 'detach' }
    const response = await post(at(target, path), body, detach)
    const text = await response.text()
    expect(text).toBe(await truth(control))
    const run = at(target, `/run/${response.headers.get('cf-aig-run-id')}`)
    const state = (await (await fetch(run)).json()) as { seq: number; usage: { outputTokens: number } }
    expect(state).toMatchObject({ state: 'done', usage: { inputTokens: 7, basis: 'reported' } })
    const events = text.split(/(?<=\r?\n\r?\n)/).filter((event) => event !== '')
    expect(state.seq).toBe(events.length - 1)
    expect(state.usage.outputTokens).toBe(control.events ?? 14)
    expect(await (await fetch(`${run}/resume?from=3`)).text()).toBe(events.slice(3).join(''))
  })

  test.each(['base', 'trunkline.v1'])('frames on a socket, %s', async (wire) => {
    const line = await connect(target, wire === 'base' ? {} : { protocols: [wire] })
    const item = { provider: 'vllm', endpoint: 'chat/completions', query: JSON.parse(body) }
    const frames = await line.result(line.create(item))
    const streamed = frames.filter(({ type }) => type === 'universal.stream')
    expect(streamed.length).toBeGreaterThan(10)
    for (const { response } of streamed) expect((response as { choices: [] }).choices).toHaveLength(1)
    const done = frames.at(-1)
    expect(done?.type).toBe('universal.done')
    if (wire !== 'base') {
      expect(streamed.map(({ metadata }) => metadata.seq)).toEqual(streamed.map((_, index) => index))
      expect(done?.metadata.usage).toEqual({ inputTokens: 7, outputTokens: 14, basis: 'reported' })
    }
    line.close()
  })

  describe('is not asked for', () => {
    const sent = async (text: string, gateway = 'default', slug = 'vllm') => {
      const key = newKey()
      const headers = { ...upstream({ key }), 'cf-aig-on-disconnect': 'detach' }
      const response = await post(at(target, `/${slug}/chat/completions`, gateway), text, headers)
      const events = await response.text()
      const run = await fetch(at(target, `/run/${response.headers.get('cf-aig-run-id')}`, gateway))
      const { usage } = (await run.json()) as { usage: { basis: string; inputTokens: number } }
      return { events, usage, body: (await ledger(target, key))[0]?.body }
    }

    test('where the client asks, who gets the event', async () => {
      const { events, usage, body: received } = await sent(asking)
      expect(isUsage(events)).toBe(true)
      expect(usage.basis).toBe('reported')
      expect(received).toBe(asking)
    })

    test.each([
      ['on a gateway that is told so', 'unasking', 'vllm'],
      ['of a provider that is not known to take it', 'default', 'mine'],
    ])('%s: then it is estimated, from the request as well', async (_, gateway, slug) => {
      const { events, usage, body: received } = await sent(body, gateway, slug)
      expect(isUsage(events)).toBe(false)
      expect(usage).toMatchObject({ basis: 'estimated', inputTokens: Math.ceil(body.length / 4) })
      expect(received).toBe(body)
    })

    test('of what is no stream', async () => {
      const single = body.replace('"stream":true, ', '')
      const { usage, body: received } = await sent(single)
      expect(usage.basis).toBe('reported')
      expect(received).toBe(single)
    })
  })

  test('a client that leaves stops the provider all the same', async () => {
    const attempt = async () => {
      const leaving = new AbortController()
      const key = newKey()
      const response = await fetch(at(target, path), {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...upstream({ key, interval: 20, events: 100_000 }) },
        signal: leaving.signal,
      })
      await response.body!.getReader().read()
      await seen(target, key)
      const left = await clock(target)
      leaving.abort()
      return stoppedAfter(target, key, left)
    }
    expect(await timeOf(attempt)).toBeLessThanOrEqual(cancelMs)
  })

  test('what the provider breaks off is broken for the client', async () => {
    const response = await post(at(target, path), body, upstream({ reset: 2, interval: 20 }))
    await expect(response.text()).rejects.toThrow()
  })

  test('the question is part of no cache key: the same client gets the same answer', async () => {
    const headers = { 'cf-aig-cache-ttl': '60', ...upstream({}) }
    const text = JSON.stringify(chat(newKey(), { stream: true }))
    const [first, second] = [await post(at(target, path), text, headers), undefined]
    const events = await first.text()
    expect(isUsage(events)).toBe(false)
    const again = second ?? (await post(at(target, path), text, headers))
    expect(again.headers.get('cf-aig-cache-status')).toBe('HIT')
    expect(await again.text()).toBe(events)
  })
}
