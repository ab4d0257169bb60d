import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { connect, type Line } from '../../src/client/index.ts'
import { at, chat, newKey, seen, upstream } from '../client.ts'
import { kernelBytes } from '../kernel.ts'
import type { RuntimeName } from '../launch.ts'
import type { Target } from '../target.ts'

const readers = 50
/** At least so many; a machine that was busy is asked again, up to so many. */
const rounds = { min: 5, max: 15 }
/** What an answer that is left stalled is long, and one that is read on. */
const [leftBytes, readBytes] = [64 << 20, 16 << 20]
/** One piece of the provider's bytes, by which its ledger counts. */
const pieceBytes = 64 << 10
const windowBytes = 262_144
const mebibyte = 1 << 20
/**
 * What the runtime's own HTTP client, and the emulator's, hold beside the window: some 300 KiB. Bun reads on for a
 * while after it was told to pause: 2 MiB on an idle machine.
 */
const clientBytes: Record<RuntimeName, number> = {
  node: mebibyte,
  deno: mebibyte,
  workers: mebibyte,
  bun: 16 * mebibyte,
}
/** Of a timed round to its like without the stalled reader. */
const slowdownMax = 1.2

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

/** An answer of which a first part was read, and no more for now. */
async function stall(line: Line, key: string, bytes: number) {
  const leaving = new AbortController()
  const headers = upstream({ key, bytes })
  const { body } = await line.fetch(`${line.url('openai')}/x`, { headers, signal: leaving.signal })
  const reader = body!.getReader()
  const first = await reader.read()
  return { reader, leave: () => leaving.abort(), hadBytes: first.value?.length ?? 0 }
}

/** Bytes of an answer that have reached the gateway, once no more of them do. */
async function enteredBytes(target: Target, key: string): Promise<number> {
  let before = -1
  for (;;) {
    const { eventsSent, port } = await seen(target, key)
    const bytes = eventsSent * pieceBytes - kernelBytes(Number(new URL(target.upstream).port), port)
    if (bytes === before) return bytes
    before = bytes
    await sleep(300)
  }
}

/** PROTOCOL.md, "universal.ack": one reader that stops reading is nobody else's matter. */
export function fairnessSuite(target: Target): void {
  test('50 readers are as fast beside one that stopped reading, of which a window is held', {
    timeout: 120_000,
  }, async () => {
    const line = await connect(at(target))
    await round(line)
    // What else a machine does only adds to a round, so that the quickest of each kind are compared.
    const [alone, beside]: [number[], number[]] = [[], []]
    const ratio = () => Math.min(...beside) / Math.min(...alone)
    for (let turn = 0; turn < rounds.min || (turn < rounds.max && ratio() > slowdownMax); turn += 1) {
      alone.push(await round(line))
      const key = newKey()
      const { hadBytes, leave } = await stall(line, key, leftBytes)
      beside.push(await round(line))
      const heldBytes = (await enteredBytes(target, key)) - hadBytes
      expect(heldBytes).toBeLessThan(windowBytes + clientBytes[target.runtime])
      leave()
    }
    if (process.env.SHOW_FIGURES) console.log(target.runtime, { alone, beside, ratio: ratio() })
    expect(ratio()).toBeLessThan(slowdownMax)
    line.close()
  })

  test('a reader that stopped beside 50, and goes on, gets every byte', { timeout: 60_000 }, async () => {
    const line = await connect(at(target))
    const { reader, hadBytes } = await stall(line, newKey(), readBytes)
    await round(line)
    let count = hadBytes
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const isNext = part.value.every((byte, index) => byte === ((count + index) & 255))
      expect(isNext, `${count}`).toBe(true)
      count += part.value.length
    }
    expect(count).toBe(readBytes)
    line.close()
  })
}
