import type { Cache, CacheEntry } from '../../../src/store/cache.ts'
import { oddTexts, type StoreTest, same } from './kit.ts'

const later = (): number => Date.now() + 60_000

function entry(body: Uint8Array<ArrayBuffer>, more: Partial<CacheEntry> = {}): CacheEntry {
  return {
    status: 200,
    headers: [
      ['content-type', 'text/event-stream'],
      ['x-odd', 'a, b'],
    ],
    body,
    events: [
      [1, 0],
      [body.byteLength, 12.5],
    ],
    step: 1,
    expiresAt: later(),
    ...more,
  }
}
const bytes = (length: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length }, (_, index) => index & 255)
/** Bodies compared by their bytes. */
const flat = (found: CacheEntry | undefined) => found && { ...found, body: [...found.body] }
/** Digests, as keys are. */
const key = (number: number): string => `${number.toString(16).padStart(2, '0')}`.repeat(32)

/** What every cache promises. */
export const cacheTests: readonly StoreTest<Cache>[] = [
  {
    name: 'gives back what was put, to another opening too, and undefined for the rest',
    async run(cache, open) {
      same(await cache.get(key(1)), undefined)
      for (const [number, size] of [0, 1, 300, 70_000].entries()) {
        const own = entry(bytes(size))
        await cache.put(key(number), 'a', own)
        same(flat(await cache.get(key(number))), flat(own))
        same(flat(await (await open()).get(key(number))), flat(own))
      }
      same(await cache.get(key(99)), undefined)
    },
  },
  {
    name: 'holds a body of eight megabytes, byte by byte',
    async run(cache) {
      const body = bytes(8_388_608)
      await cache.put(key(1), 'a', entry(body))
      const found = await cache.get(key(1))
      same(found?.body.byteLength, body.byteLength)
      same(
        found?.body.every((byte, index) => byte === (index & 255)),
        true,
      )
    },
  },
  {
    name: 'replaces what has the same key, a longer one by a shorter as well',
    async run(cache) {
      await cache.put(key(1), 'a', entry(bytes(3_000_000)))
      await cache.put(key(1), 'b', entry(bytes(10), { status: 203, step: 0, headers: [] }))
      const found = await cache.get(key(1))
      same([found?.status, found?.step, found?.headers, found?.body.byteLength], [203, 0, [], 10])
    },
  },
  {
    name: 'does not give what is no longer fresh',
    async run(cache, open) {
      await cache.put(key(1), 'a', entry(bytes(10), { expiresAt: Date.now() - 1 }))
      same(await cache.get(key(1)), undefined)
      same(await (await open()).get(key(1)), undefined)
    },
  },
  {
    name: 'clears one gateway and leaves the others',
    async run(cache) {
      const numbers = Array.from({ length: 40 }, (_, number) => number)
      await Promise.all(
        numbers.map((number) => cache.put(key(number), number % 2 ? 'odd' : 'even', entry(bytes(5)))),
      )
      await cache.clear('odd')
      for (const number of numbers) same((await cache.get(key(number))) === undefined, number % 2 === 1)
    },
  },
  {
    name: 'gives odd texts back as they were',
    async run(cache) {
      const headers = oddTexts.map((text): [string, string] => ['x-odd', text])
      await cache.put(key(1), "it's", entry(bytes(5), { headers }))
      same((await cache.get(key(1)))?.headers, headers)
    },
  },
  {
    name: 'is put to and read by many at once',
    async run(cache) {
      const work = Array.from({ length: 300 }, async (_, number) => {
        const own = entry(bytes(100 + number))
        await cache.put(key(number % 250), 'a', own)
        const found = await cache.get(key(number % 250))
        return (found?.body.byteLength ?? 0) >= 100
      })
      same((await Promise.all(work)).every(Boolean), true)
    },
  },
  {
    name: 'sweeps what is old while more is put, and nothing else',
    async run(cache) {
      await cache.put(key(255), 'a', entry(bytes(7)))
      const numbers = Array.from({ length: 110 }, (_, number) => number)
      const old = () => entry(bytes(5), { expiresAt: Date.now() - 1 })
      await Promise.all(numbers.map((number) => cache.put(key(number), 'a', old())))
      await Promise.all(numbers.map((number) => cache.put(key(number + 110), 'a', old())))
      same((await cache.get(key(255)))?.body.byteLength, 7)
    },
  },
]
