import { parseArgs } from 'node:util'

/** What to measure, and for how long. */
export interface BenchOptions {
  readonly mode: 'short' | 'full' | 'smoke'
  /** Of the rows' names. */
  readonly rows: RegExp
  /** Of the measurements' names. */
  readonly only: RegExp
  readonly peers: readonly string[]
  readonly repeats: number
  /** Of one closed loop. */
  readonly ms: number
  /** Before it, uncounted. */
  readonly warmMs: number
  /** Requests a second of the fixed arrival rate; 0 for none. */
  readonly rate: number
  /** That say nothing. */
  readonly sockets: number
  /** Requests of the row that watches the heap; 0 for none. */
  readonly soak: number
  readonly build: boolean
  /** Where the figures go, as JSON. */
  readonly json: string
  readonly help: boolean
}

/** Shown by `--help`. */
export const usage = `npm run bench -- [options]

  --full            five repeats of a second each (some ten minutes); default: three of 0.4 s, under three minutes
  --smoke           under 30 s: every row answers rightly; no time is judged
  --rows REGEX      rows to measure, by name: direct, control node, trunkline bun socket, …
  --only REGEX      measurements, by name: requests, streams, paced, bodies, cancel, start, memory, rate
  --peer portkey    add @portkey-ai/gateway, installed into a temporary folder
  --rate N          add a fixed arrival rate of N requests a second
  --sockets N       idle sockets held for their memory (default 1000; 10000 with --full)
  --soak N          after it all, N requests to Trunkline on Node, and its heap after GC at each quarter
  --repeats N, --ms N   in place of the mode's own
  --no-build        take dist/ as it is
  --json FILE       where the figures go (default dist/bench.json)`

/** Read the command line. Throws for options that do not exist. */
export function readBenchOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      full: { type: 'boolean', default: false },
      smoke: { type: 'boolean', default: false },
      rows: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      peer: { type: 'string', multiple: true, default: [] },
      rate: { type: 'string', default: '0' },
      sockets: { type: 'string' },
      soak: { type: 'string', default: '0' },
      repeats: { type: 'string' },
      ms: { type: 'string' },
      'no-build': { type: 'boolean', default: false },
      json: { type: 'string', default: 'dist/bench.json' },
      help: { type: 'boolean', default: false },
    },
  })
  const mode = values.smoke ? 'smoke' : values.full ? 'full' : 'short'
  const own = { short: [3, 400, 1_000], full: [5, 1_000, 10_000], smoke: [1, 60, 20] }[mode]
  const [repeats, ms, sockets] = own as [number, number, number]
  return {
    mode,
    rows: new RegExp(values.rows),
    only: new RegExp(values.only),
    peers: values.peer,
    repeats: Number(values.repeats ?? repeats),
    ms: Number(values.ms ?? ms),
    warmMs: mode === 'smoke' ? 20 : 150,
    rate: Number(values.rate),
    sockets: Number(values.sockets ?? sockets),
    soak: Number(values.soak),
    build: !values['no-build'],
    json: values.json,
    help: values.help,
  }
}
