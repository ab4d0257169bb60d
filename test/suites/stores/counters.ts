import type { Claim, Counters } from '../../../src/store/counters.ts'
import { type StoreTest, same } from './kit.ts'

const hour = 3_600_000
const claim = (more: Partial<Claim> = {}): Claim => ({
  key: 'k',
  limit: 3,
  windowMs: hour,
  technique: 'fixed',
  amount: 1,
  ...more,
})
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Take the same claims again and again; which of them were let through. */
async function takeTimes(counters: Counters, times: number, ...claims: readonly Claim[]): Promise<boolean[]> {
  const through: boolean[] = []
  for (let count = 0; count < times; count += 1)
    through.push((await counters.take('a', claims)).refused === undefined)
  return through
}

/** What every store of counters promises. */
export const countersTests: readonly StoreTest<Counters>[] = [
  {
    name: 'lets through as many as the limit, and tells what is left and when there is more',
    async run(counters) {
      const first = await counters.take('a', [claim()])
      same(first.standings[0]?.remaining, 2)
      const { resetMs = 0 } = first.standings[0] ?? {}
      same([resetMs > 0, resetMs <= hour], [true, true])
      same(await takeTimes(counters, 4, claim()), [true, true, false, false])
      const last = await counters.take('a', [claim()])
      same([last.refused, last.standings[0]?.remaining], [0, 0])
    },
  },
  {
    name: 'of claims together, counts all or none',
    async run(counters) {
      const [wide, narrow] = [claim({ key: 'wide', limit: 10 }), claim({ key: 'narrow', limit: 2 })]
      same(await takeTimes(counters, 3, wide, narrow), [true, true, false])
      same((await counters.take('a', [wide])).standings[0]?.remaining, 7)
      same((await counters.take('a', [wide, narrow])).refused, 1)
    },
  },
  {
    name: 'of 500 at once lets through exactly the limit',
    async run(counters) {
      for (const technique of ['fixed', 'sliding'] as const) {
        const own = claim({ key: technique, limit: 100, technique })
        const taken = await Promise.all(Array.from({ length: 500 }, () => counters.take('a', [own])))
        same(taken.filter(({ refused }) => refused === undefined).length, 100)
      }
    },
  },
  {
    name: 'corrects what was taken, up and down, and fractions',
    async run(counters) {
      const own = claim({ limit: 1, amount: 0.6 })
      const at = Date.now()
      await counters.take('a', [own])
      await counters.settle('a', [{ ...own, at, amount: -0.5 }])
      same(await takeTimes(counters, 3, own), [true, true, false])
      await counters.settle('a', [{ ...own, at, amount: -1.3 }])
      same(await takeTimes(counters, 1, own), [true])
    },
  },
  {
    name: 'a fixed window begins anew, a sliding one gives back what is a window old',
    async run(counters) {
      for (const technique of ['fixed', 'sliding'] as const) {
        const own = claim({ key: technique, limit: 2, windowMs: 600, technique })
        same((await takeTimes(counters, 4, own)).filter(Boolean).length >= 2, true)
        const full = await counters.take('a', [own])
        if (full.refused !== undefined) same((full.standings[0]?.resetMs ?? 9_999) <= 700, true)
        await wait(700)
        same((await counters.take('a', [own])).refused, undefined)
      }
    },
  },
  {
    name: 'in no stretch of a sliding window lets through more than the limit',
    async run(counters) {
      const own = claim({ limit: 5, windowMs: 300, technique: 'sliding' })
      const took: number[] = []
      for (const until = Date.now() + 1_500; Date.now() < until; await wait(5)) {
        const before = Date.now()
        if ((await counters.take('a', [own])).refused === undefined) took.push(before)
      }
      same(took.length > 10, true)
      const tooClose = took.filter((at, index) => (took[index + 5] ?? Number.POSITIVE_INFINITY) - at < 290)
      same(tooClose, [])
    },
  },
]

/** What stores of counters promise that outlive what opened them. */
export const lastingTests: readonly StoreTest<Counters>[] = [
  {
    name: 'remembers what was counted, for whoever opens it after a flush',
    async run(counters, open) {
      await counters.take('a', [claim({ key: "it's \u{1F99C}" })])
      await counters.take('a', [claim({ key: 'b', amount: 2.5 })])
      await counters.flush()
      await counters.take('a', [claim({ key: 'b', amount: 0.25 })])
      await counters.flush()
      const again = await open()
      same((await again.take('a', [claim({ key: "it's \u{1F99C}" })])).standings[0]?.remaining, 1)
      same((await again.take('a', [claim({ key: 'b', amount: 0 })])).standings[0]?.remaining, 0.25)
    },
  },
]
