import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connect, type Line } from '../../src/client/index.ts'
import { at, chat, newKey, seen, upstream } from '../client.ts'
import type { Target } from '../target.ts'

const readers = 50
const rounds = 5
/** What the stalled answer is long. */
const stalledBytes = 64 << 20
/** One piece of the provider's bytes, by which its ledger counts. */
const pieceBytes = 64 << 10
/**
 * The window, and what the kernel and the runtime's HTTP client hold by themselves: some 4 MiB on an idle machine, of
 * Bun some 6 MiB, and as much again for each burst that came before the reader's turn on a busy one.
 */
const heldBytesMax = 262_144 + (40 << 20)
/** Of a timed round to its like without the stalled reader; measured by hand it is within 20 %. */
const slowdownMax = 1.5

/** Milliseconds until all readers have all of their answers. */
async function round(line: Line): Promise<number> {
  const began = performance.now()
  const read = async () => {
    const response = await line.fetch(`${line.url('openai')}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(chat('x', { stream: true })),
      headers: { 'content-type': 'application/json', ...upstream({ events: 60, interval: 5 }) },
    })
    expect((await response.text()).split('\n\n')).toHaveLength(64)
  }
  await Promise.all(Array.from({ length: readers }, read))
  return performance.now() - began
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** PROTOCOL.md, "universal.ack": one reader that stops reading is nobody else's matter. */
export function fairnessSuite(target: Target): void {
  test('50 readers are as fast beside one that stopped reading, which loses nothing', {
    timeout: 60_000,
  }, async () => {
    const line = await connect(at(target))
    await round(line)
    const [alone, beside]: [number[], number[]] = [[], []]
    for (let turn = 0; turn < rounds; turn += 1) {
      alone.push(await round(line))
      const key = newKey()
      const leaving = new AbortController()
      const headers = upstream({ key, bytes: stalledBytes })
      const stalled = await line.fetch(`${line.url('openai')}/x`, { headers, signal: leaving.signal })
      const reader = stalled.body!.getReader()
      await reader.read()
      beside.push(await round(line))
      // How far the provider got is what the gateway, and the kernel, hold of it.
      const { eventsSent } = await seen(target, key)
      expect(eventsSent * pieceBytes).toBeLessThan(heldBytesMax)
      leaving.abort()
    }
    const ratio = median(beside) / median(alone)
    if (process.env.SHOW_FIGURES) console.log(target.runtime, { alone, beside, ratio })
    expect(ratio).toBeLessThan(slowdownMax)
    line.close()
  })

  test('a reader that stopped and goes on gets every byte', async () => {
    const line = await connect(at(target))
    const size = 16 << 20
    const response = await line.fetch(`${line.url('openai')}/x`, { headers: upstream({ bytes: size }) })
    await sleep(500)
    const body = new Uint8Array(await response.arrayBuffer())
    expect(body.length).toBe(size)
    expect(body.every((byte, index) => byte === (index & 255))).toBe(true)
    line.close()
  })
}
