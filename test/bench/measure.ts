import { freePort, type Started } from '../launch.ts'
import { openHeap } from './heap.ts'
import type { Load } from './load-client.ts'
import type { BenchOptions } from './options.ts'
import { rssOf, workersOf } from './proc.ts'
import { type Row, type Running, startRow } from './rows.ts'
import type { Closed, Figures, Outcome, Task } from './tasks.ts'

/** Figures of one measurement of one row, one entry per repeat. */
export interface Cell {
  readonly row: string
  readonly measurement: string
  readonly repeats: Figures[]
}

/** What stands around a measurement. */
export interface Bench {
  readonly options: BenchOptions
  readonly load: Load
  readonly upstream: Started
  /** Told of each row that answered wrongly. */
  broken(row: string, measurement: string, error: string): void
}

/** One thing to measure, of one row at a time. */
export interface Measurement {
  readonly name: string
  fits(row: Row): boolean
  run(running: Running, bench: Bench): Promise<Figures>
}

const streamCount = 64
const bodyInFlight = 8
const cancelTimes = { short: 20, full: 100, smoke: 4 }
const bytesPerMb = 1 << 20

const pidOf = ({ process }: Running): readonly number[] => workersOf(process.pid)

async function ask(running: Running, bench: Bench, name: string, task: Task): Promise<Outcome> {
  const outcome = await bench.load.run(task, { address: running.address, pids: pidOf(running) })
  if (outcome.errors > 0) bench.broken(running.row.name, name, `${outcome.errors} × ${outcome.error}`)
  return outcome
}

/** A closed loop, held against what the provider has counted. */
async function closed(running: Running, bench: Bench, name: string, task: Closed): Promise<Figures> {
  const before = await countsOf(bench.upstream)
  const { figures, total } = await ask(running, bench, name, task)
  const seen = (await countsOf(bench.upstream)).requests - before.requests
  if (seen < total) bench.broken(running.row.name, name, `${total} answers, ${seen} requests at the provider`)
  return { ...figures, rssMb: rssOf(pidOf(running)) / bytesPerMb }
}

async function countsOf({ url }: Started): Promise<{ requests: number; events: number }> {
  return (await (await fetch(`${url}/counts`)).json()) as { requests: number; events: number }
}

const anything = (): boolean => true
const overHttp = ({ over }: Row): boolean => over === 'http'

/** What is measured again and again, in turns. */
export function measurementsOf({ mode, ms, warmMs, rate }: BenchOptions): Measurement[] {
  const requests = (mode === 'smoke' ? [1, 32] : [1, 32, 256]).map((inFlight): Measurement => {
    const name = `requests@${inFlight}`
    return {
      name,
      fits: anything,
      run: (running, bench) => closed(running, bench, name, { kind: 'closed', inFlight, ms, warmMs }),
    }
  })
  const streams = (name: string, model: string, events: number): Measurement => ({
    name,
    fits: anything,
    async run(running, bench) {
      const task: Task = { kind: 'streams', streams: streamCount, model: `${model}`, events }
      return (await ask(running, bench, name, task)).figures
    },
  })
  const pacedEvents = { short: 50, full: 200, smoke: 5 }[mode]
  const bodies = [1_024, 102_400, 5_242_880].map((bodyBytes): Measurement => {
    const name = `bodies@${bodyBytes}`
    const task = { kind: 'closed', inFlight: bodyInFlight, ms: ms / 2, warmMs, bodyBytes } as const
    return { name, fits: overHttp, run: (running, bench) => closed(running, bench, name, task) }
  })
  const cancel: Measurement = {
    name: 'cancel',
    fits: overHttp,
    async run(running, bench) {
      const upstream = Number(new URL(bench.upstream.url).port)
      return (await ask(running, bench, 'cancel', { kind: 'cancel', times: cancelTimes[mode], upstream }))
        .figures
    },
  }
  const arrivals: Measurement = {
    name: `rate@${rate}`,
    fits: anything,
    run: async (running, bench) =>
      (await ask(running, bench, 'rate', { kind: 'rate', perSecond: rate, ms })).figures,
  }
  return [
    ...requests,
    streams('streams', 'burst-200', 200),
    streams('paced', `paced-${pacedEvents}-20`, pacedEvents),
    ...bodies,
    cancel,
    ...(rate > 0 ? [arrivals] : []),
  ]
}

/** Processes of their own, just started: how soon they serve, and what they hold while nothing happens. */
export async function measureFresh(row: Row, bench: Bench, address: Running['address']): Promise<Figures> {
  const process = await startRow(row, bench.upstream)
  const running: Running = { row, process, address: { ...address, port: Number(new URL(process.url).port) } }
  const first = await ask(running, bench, 'start', { kind: 'closed', inFlight: 1, ms: 0, warmMs: 0 })
  const pids = pidOf(running)
  await settle()
  const idle = rssOf(pids)
  const figures = { startMs: process.startMs, idleMb: idle / bytesPerMb, served: first.total }
  try {
    if (row.over === 'http') return figures
    const { sockets } = bench.options
    await ask(running, bench, 'memory', { kind: 'idle', sockets, settleMs: settleMsOf(bench.options) })
    const perSocketKb = (rssOf(pids) - idle) / sockets / 1_024
    await ask(running, bench, 'memory', { kind: 'idle', sockets: 0, settleMs: 0 })
    return { ...figures, perSocketKb }
  } finally {
    await process.kill()
  }
}

/** Of the row that watches the heap, between two looks. */
const soakMs = 4_000
const soakInFlight = 32

/** A process that answers `soak` requests; its heap after GC, and its memory, at each quarter of them. */
export async function measureSoak(row: Row, bench: Bench, address: Running['address']): Promise<Figures[]> {
  const port = await freePort()
  const process = await startRow(row, bench.upstream, `--inspect=127.0.0.1:${port}`)
  const running: Running = { row, process, address: { ...address, port: Number(new URL(process.url).port) } }
  const heap = await openHeap(port)
  const quarter = bench.options.soak / 4
  const looks: Figures[] = []
  try {
    for (let total = 0, isBroken = false; looks.length < 4 && !isBroken; ) {
      const task = { kind: 'closed', inFlight: soakInFlight, ms: soakMs, warmMs: 0 } as const
      const outcome = await ask(running, bench, 'soak', task)
      isBroken = outcome.errors > 0
      total += outcome.total
      if (total < quarter * (looks.length + 1)) continue
      await settle()
      const heapMb = (await heap.used()) / bytesPerMb
      looks.push({ requests: total, heapMb, rssMb: rssOf(pidOf(running)) / bytesPerMb })
    }
    return looks
  } finally {
    heap.close()
    await process.kill()
  }
}

const settleMsOf = ({ mode }: BenchOptions): number => (mode === 'full' ? 2_000 : 200)
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200))
