/** Opens the store of a name: one that has the same name as an earlier one sees what that one wrote. */
export type Open<Store> = (name: string) => Promise<Store>

/** What a store promises; rejects where it does not hold. Runs in any runtime. */
export interface StoreTest<Store> {
  readonly name: string
  run(store: Store, open: () => Promise<Store>): Promise<void>
}

/** Run a suite, each test on a store of its own; by name null, or why it failed. */
export async function runStoreTests<Store>(
  tests: readonly StoreTest<Store>[],
  open: Open<Store>,
): Promise<Record<string, string | null>> {
  const results: Record<string, string | null> = {}
  for (const [index, { name, run }] of tests.entries()) {
    const again = () => open(`test${index}`)
    try {
      await run(await again(), again)
      results[name] = null
    } catch (error) {
      results[name] = error instanceof Error ? (error.stack ?? error.message) : String(error)
    }
  }
  return results
}

/** Compared as JSON, members in any order, undefined ones left out. */
export function same(actual: unknown, expected: unknown, about = ''): void {
  const [one, other] = [toText(actual), toText(expected)]
  if (one !== other) throw new Error(`${about} expected ${other}, got ${one}`)
}

function toText(value: unknown): string {
  const sorted = (_: string, inner: unknown): unknown =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  return JSON.stringify(value, sorted) ?? 'undefined'
}

/** The work must reject. */
export async function rejects(work: Promise<unknown>): Promise<void> {
  const outcome = await work.then(
    () => 'resolved',
    () => 'rejected',
  )
  same(outcome, 'rejected')
}

/** Texts that have broken stores. */
export const oddTexts: readonly string[] = [
  '',
  "it's",
  '"double"',
  "'; DROP TABLE logs; --",
  '100%',
  '_under_score',
  'back\\slash',
  'tab\tline\nreturn\r',
  'emoji 🦜 and 𝔘nicode',
  'e\u0301 combined',
  'NUL \u0000 inside',
  '\u202eright to left',
  '[brackets] *stars* ?marks?',
  'null',
  'ä'.repeat(2_000),
]
