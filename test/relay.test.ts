import { createHash, type Hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { median } from './bench/stats.ts'
import { ended, newKey } from './client.ts'
import { type Started, startEmulator, startGateway } from './launch.ts'
import { cancelMs, clock, stoppedAfter } from './prompt.ts'
import { type Relayed, type RelayOptions, rawUpgrade, refused, relay } from './relay-client.ts'
import type { Target } from './target.ts'

const sessions = 1_000
/** Opened at once; a listening socket queues no more. */
const opening = 100
const framesEach = 40
/** Of each side. Half of them are prompt on any machine; a slow moment may hold up one, and not for long. */
const closings = 21
const slowMs = 2_000
const mebibyte = 1 << 20

let emulator: Started
let gateway: Started
let target: Target

beforeAll(async () => {
  emulator = await startEmulator()
  const openai = { base_url: `${emulator.url}/openai` }
  gateway = await startGateway('node', { providers: { openai } })
  const ws = gateway.url.replace('http', 'ws')
  target = { runtime: 'node', url: gateway.url, ws, upstream: emulator.url }
})
afterAll(async () => {
  await gateway?.stop()
  await emulator?.stop()
})

/** Bytes that the gateway's process holds. */
function held(): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) * 1_024
}

const open = (options: RelayOptions = {}): Promise<Relayed> => relay(target, '/openai', options)

/** The nth frame of a session: texts and bytes of many sizes, each told apart from all others. */
function frameOf(session: number, index: number): string | Buffer {
  const text = `session ${session} frame ${index} `.padEnd((session * 31 + index * 997) % 4_000, 'é')
  return index % 2 === 0 ? text : Buffer.from(text)
}

/** Send all of a session's frames, and tell the hash of what was sent and of what came back. */
async function exchange(session: number, { socket }: Relayed): Promise<[sent: string, heard: string]> {
  const [sent, heard] = [createHash('sha256'), createHash('sha256')]
  const add = (hash: Hash, data: string | Buffer, isBinary: boolean) =>
    hash.update(`${isBinary ? 'b' : 't'}${Buffer.byteLength(data)}:`).update(data)
  let count = 0
  const all = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer, isBinary) => {
      add(heard, data, isBinary)
      count += 1
      if (count === framesEach) resolve()
    })
  })
  for (let index = 0; index < framesEach; index += 1) {
    const frame = frameOf(session, index)
    add(sent, frame, typeof frame !== 'string')
    socket.send(frame)
    if (index % 8 === 7) await sleep(1)
  }
  await all
  return [sent.digest('hex'), heard.digest('hex')]
}

test('1,000 sessions at once: every frame once, in order, as it was sent, and each close on the other side at once', {
  timeout: 120_000,
}, async () => {
  const keys = Array.from({ length: sessions }, newKey)
  const all: Relayed[] = []
  for (let from = 0; from < sessions; from += opening) {
    const part = keys.slice(from, from + opening)
    all.push(...(await Promise.all(part.map((key) => open({ control: { key } })))))
  }
  const hashes = await Promise.all(all.map((session, index) => exchange(index, session)))
  expect(hashes.filter(([sent, heard]) => sent !== heard)).toEqual([])

  let index = 0
  const leave = async () => {
    const left = await clock(target)
    const [{ socket }, key] = [all[index]!, keys[index]!]
    socket.close(4_000 + index, 'enough')
    const ms = await stoppedAfter(target, key, left)
    expect(await ended(target, key)).toMatchObject({ closeCode: 4_000 + index, closeReason: 'enough' })
    index += 1
    return ms
  }
  const beLeft = async () => {
    const key = newKey()
    const { closed } = await open({ control: { key, close: [4_500 + index, 'bye'], interval: 20 } })
    expect(await closed).toMatchObject({ code: 4_500 + index, reason: 'bye' })
    const closedAt = await clock(target)
    return closedAt - (await ended(target, key))!.finishedAt!
  }
  const times: Record<'client' | 'provider', number[]> = { client: [], provider: [] }
  while (index < closings) {
    times.client.push(await leave())
    times.provider.push(await beLeft())
  }
  for (const [side, all] of Object.entries(times)) {
    expect(median(all), `${side}: ${all.map(Math.round).join(', ')} ms`).toBeLessThanOrEqual(cancelMs)
    expect(Math.max(...all)).toBeLessThanOrEqual(slowMs)
  }
  for (const { socket } of all) socket.terminate()
})

test('clients that do not read slow their providers, and cost the gateway no more than its limit', {
  timeout: 120_000,
}, async () => {
  const [readers, frames] = [20, 800] // 50 MiB each
  const before = held()
  const keys = Array.from({ length: readers }, newKey)
  const slow = await Promise.all(keys.map((key) => open({ control: { key, flood: frames } })))
  for (const { socket } of slow) socket.pause()
  let most = 0
  for (const until = performance.now() + 4_000; performance.now() < until; await sleep(100))
    most = Math.max(most, held() - before)
  // A buffer that is full, the frame that filled it, and what a socket reads at once.
  expect(most).toBeLessThan(readers * 3 * mebibyte + 64 * mebibyte)
  for (const { socket } of slow) socket.resume()
  for (const { heard, take } of slow) {
    await take(frames + 1)
    const numbers = heard.slice(0, -1).map((frame) => (frame as Buffer).readUInt32BE())
    expect(numbers).toEqual(Array.from({ length: frames }, (_, index) => index))
    expect(heard.at(-1)).toBe('end')
  }
  for (const { socket } of slow) socket.terminate()
})

test('providers that do not read slow their clients in the same way', { timeout: 60_000 }, async () => {
  const writers = 10
  const before = held()
  const fast = await Promise.all(Array.from({ length: writers }, () => open({ control: { deaf: true } })))
  const frame = Buffer.alloc(mebibyte)
  for (const { socket } of fast) for (let index = 0; index < 64; index += 1) socket.send(frame)
  await sleep(2_000)
  expect(held() - before).toBeLessThan(writers * 4 * mebibyte + 64 * mebibyte)
  for (const { socket } of fast) {
    expect(socket.bufferedAmount).toBeGreaterThan(32 * mebibyte)
    socket.terminate()
  }
})

test.each([
  ['empty frames for a provider that does not read', 0x2, { deaf: true }, 0],
  ['pings of a client that does not read', 0x9, {}, 125],
] as const)('%s cost no more than others', { timeout: 60_000 }, async (_, opcode, control, length) => {
  const before = held()
  const { socket, text } = rawUpgrade(target, '/openai', control)
  await expect.poll(text, { timeout: 10_000 }).toContain('\r\n\r\n')
  if (opcode === 0x9) socket.pause()
  const frame = Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | length]), Buffer.alloc(4 + length)])
  const frames = Buffer.concat(Array.from({ length: 4_096 }, () => frame))
  const write = (): void => {
    while (!socket.destroyed && socket.write(frames));
  }
  socket.on('drain', write)
  write()
  let most = 0
  for (const until = performance.now() + 4_000; performance.now() < until; await sleep(100))
    most = Math.max(most, held() - before)
  expect(most).toBeLessThan(128 * mebibyte)
  socket.destroy()
})

test('pings are answered, one after another', async () => {
  const { socket } = await open()
  const heard: string[] = []
  socket.on('pong', (data) => heard.push(String(data)))
  for (const word of ['one', 'two', 'three']) socket.ping(word)
  await expect.poll(() => heard).toEqual(['one', 'two', 'three'])
  socket.terminate()
})

test('a side that takes nothing for too long is given up, and both know why', {
  timeout: 60_000,
}, async () => {
  const { socket, closed } = await open({ control: { deaf: true } })
  const frame = Buffer.alloc(mebibyte)
  for (let index = 0; index < 24; index += 1) socket.send(frame)
  expect(await closed).toMatchObject({ code: 1013, reason: 'reader too slow' })
})

test.each(['node', 'bun', 'deno'] as const)(
  '%s: a gateway that stops ends its sessions, and tells both sides',
  {
    timeout: 60_000,
  },
  async (runtime) => {
    const openai = { base_url: `${emulator.url}/openai` }
    const stopping = await startGateway(runtime, { providers: { openai }, limits: { drainSeconds: 1 } })
    const own = { ...target, runtime, url: stopping.url, ws: stopping.url.replace('http', 'ws') }
    const key = newKey()
    const { closed } = await relay(own, '/openai', { control: { key } })
    const code = stopping.terminate()
    expect(await closed).toMatchObject({ code: 1001, reason: 'the gateway stops' })
    expect(await ended(target, key)).toMatchObject({ closeCode: 1001, closeReason: 'the gateway stops' })
    expect(await code).toBe(0)
  },
)

test('no more sessions at once than the gateway takes', { timeout: 30_000 }, async () => {
  const openai = { base_url: `${emulator.url}/openai` }
  const small = await startGateway('node', { providers: { openai }, limits: { sessions: 2 } })
  const own = { ...target, url: small.url, ws: small.url.replace('http', 'ws') }
  const [first] = await Promise.all([relay(own, '/openai'), relay(own, '/openai')])
  expect((await refused(relay(own, '/openai'))).status).toBe(429)
  first.socket.close()
  await first.closed
  const next = await relay(own, '/openai')
  next.socket.terminate()
  await small.stop()
})
