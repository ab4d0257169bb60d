import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { at, chat, connect, ledger, newKey, post, upstream } from '../client.ts'
import { limitedToken } from '../config.ts'
import type { Target } from '../target.ts'

const crowd = 500

/** PROTOCOL.md, "Limits": gateways of test/config.ts, each with a limit of its own. */
export function limitsSuite(target: Target): void {
  const ask = (gateway: string, key: string, headers: Record<string, string> = {}, body: object = {}) =>
    post(at(target, '/openai/chat/completions', gateway), chat('x', body), {
      ...upstream({ key }),
      ...headers,
    })

  test(`of ${crowd} requests at once, a limit of 100 lets 100 through, and tells the others when to come again`, async () => {
    const key = newKey()
    const answers = await Promise.all(Array.from({ length: crowd }, () => ask('hurried', key)))
    const [served, refused] = [200, 429].map((status) => answers.filter((answer) => answer.status === status))
    expect([served?.length, refused?.length]).toEqual([100, crowd - 100])
    expect(await ledger(target, key)).toHaveLength(100)
    const { headers } = refused![0]!
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(3_600)
    expect(headers.get('ratelimit-policy')).toBe('"gateway";q=100;w=3600')
    expect(headers.get('ratelimit')).toMatch(/^"gateway";r=0;t=\d+$/)
    expect(served?.map((answer) => answer.headers.get('ratelimit')?.match(/r=(\d+)/)?.[1])).toContain('0')
    expect(await refused![0]!.json()).toMatchObject({ error: [{ code: 2003 }], httpCode: 429 })
  })

  test('on a socket the refusal is an answer of its own request, with the time to wait', async () => {
    for (let count = 0; count < 100; count += 1) if ((await ask('hurried', newKey())).status === 429) break
    const line = await connect(target, { gateway: 'hurried' })
    const item = { provider: 'openai', endpoint: 'chat/completions', query: chat('x') }
    const [frame] = await line.result(line.create(item))
    expect(frame).toMatchObject({ type: 'universal.created', metadata: { status: 429 } })
    expect(frame?.metadata.retryAfterMs).toBeGreaterThan(0)
    line.close()
  })

  test('in a sliding window a place comes free one window after it was taken, and never more than the limit', async () => {
    const took: number[] = []
    const began = performance.now()
    while (performance.now() - began < 5_000) {
      const at = performance.now()
      if ((await ask('sliding', newKey())).status === 200) took.push(at)
      await sleep(20)
    }
    expect(took.length).toBeGreaterThan(5)
    for (const [index, at] of took.entries()) {
      const sixth = took[index + 5]
      if (sixth !== undefined) expect(sixth - at).toBeGreaterThan(1_950)
    }
  })

  test('tokens count once they are known: when they are used up, nothing more is let through', async () => {
    const statuses: number[] = []
    for (let count = 0; count < 30; count += 1) {
      const answer = await ask('wordy', newKey(), {}, count % 2 ? { stream: true } : {})
      statuses.push(answer.status)
      await answer.text()
    }
    const served = statuses.filter((status) => status === 200).length
    // Some 20 tokens each, of 100.
    expect(served).toBeGreaterThan(2)
    expect(served).toBeLessThan(12)
    expect(statuses.slice(served).every((status) => status === 429)).toBe(true)
  })

  test("a token's own limit is its own: another token is let through", async () => {
    const as = (token: string) => ask('locked', newKey(), { 'cf-aig-authorization': `Bearer ${token}` })
    const statuses = await Promise.all(Array.from({ length: 6 }, async () => (await as(limitedToken)).status))
    expect(statuses.toSorted()).toEqual([200, 200, 200, 429, 429, 429])
    expect((await ask('locked', newKey(), { 'cf-aig-authorization': 'Bearer tk-all-4f1d9c' })).status).toBe(
      200,
    )
  })

  test('money spent counts for whoever spent it, and for the providers that the rule names', async () => {
    const spend = async (user: string, provider = 'openai') => {
      const headers = {
        'cf-aig-metadata': JSON.stringify({ user }),
        'cf-aig-custom-cost': JSON.stringify({ total_cost: 0.0004 }),
      }
      const answer = await post(at(target, `/${provider}/chat/completions`, 'thrifty'), chat('x'), headers)
      await answer.text()
      return answer.status
    }
    const user = newKey()
    const statuses: number[] = []
    for (let count = 0; count < 5; count += 1) statuses.push(await spend(user))
    // A dollar's thousandth: reached by the third.
    expect(statuses).toEqual([200, 200, 200, 429, 429])
    expect([await spend(newKey()), await spend(user, 'groq')]).toEqual([200, 200])
    // At once, each is counted before its answer is there.
    const other = newKey()
    const crowded = await Promise.all(Array.from({ length: 20 }, () => spend(other)))
    expect(crowded.filter((status) => status === 200)).toHaveLength(3)
  })

  test('a list whose first provider may spend no more is served by its second', async () => {
    const headers = {
      'cf-aig-metadata': JSON.stringify({ user: newKey() }),
      'cf-aig-custom-cost': JSON.stringify({ total_cost: 1 }),
    }
    const list = ['openai', 'groq'].map((provider) => ({
      provider,
      endpoint: 'chat/completions',
      headers,
      query: chat('x'),
    }))
    const steps: (string | null)[] = []
    for (let count = 0; count < 2; count += 1) {
      const answer = await post(at(target, '', 'thrifty'), list)
      await answer.text()
      steps.push(answer.headers.get('cf-aig-step'))
    }
    expect(steps).toEqual(['0', '1'])
  })

  test('what the provider failed uses up no tokens', async () => {
    for (let count = 0; count < 10; count += 1) {
      const headers = { ...upstream({ status: 500 }), 'cf-aig-metadata': '{"a":1}' }
      const answer = await ask('wordy-too', newKey(), headers)
      expect(answer.status).toBe(500)
      await answer.text() // it counts with its estimate until it is over
    }
    expect((await ask('wordy-too', newKey())).status).toBe(200)
  })
}
