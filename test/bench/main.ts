import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, resolve } from 'node:path'
import process from 'node:process'
import { toGoals } from './goals.ts'
import { startLoad } from './load-client.ts'
import {
  type Bench,
  type Cell,
  type Measurement,
  measureFresh,
  measurementsOf,
  measureSoak,
} from './measure.ts'
import { type BenchOptions, readBenchOptions, usage } from './options.ts'
import { allRows, folder, type Row, type Running, startRows, startUpstream } from './rows.ts'
import { toResults, toSoak, toTables } from './table.ts'

/** Of each row, before anything counts. */
const firstMs = { short: 500, full: 3_000, smoke: 30 }

async function run(options: BenchOptions): Promise<number> {
  process.chdir(folder)
  if (options.build)
    execFileSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const rows = allRows(options.peers).filter(({ name }) => options.rows.test(name))
  const upstream = await startUpstream()
  const load = startLoad()
  const faults: string[] = []
  const broken: Bench['broken'] = (row, measurement, error) => {
    faults.push(`${row}, ${measurement}: ${error}`)
  }
  const bench: Bench = { options, load, upstream, broken }
  try {
    const cells = await measureAll(rows, bench)
    const results = toResults(cells)
    console.log(
      `\n${toTables(rows, results)}\n\n${toSoak(cells)}${toGoals(results)}\n\n${machine()}; ${options.repeats} repeats`,
    )
    writeJson(options, cells, faults)
  } finally {
    await load.stop()
    await upstream.stop()
  }
  for (const fault of new Set(faults)) console.error(`broken: ${fault}`)
  return faults.length > 0 ? 1 : 0
}

async function measureAll(rows: readonly Row[], bench: Bench): Promise<Cell[]> {
  const { options, upstream } = bench
  const { running, stop } = await startRows(rows, upstream)
  const cells = new Map<string, Cell>()
  const keep = (row: string, measurement: string, figures: Cell['repeats'][number]): void => {
    const key = `${row}\n${measurement}`
    if (!cells.has(key)) cells.set(key, { row, measurement, repeats: [] })
    cells.get(key)!.repeats.push(figures)
  }
  try {
    await warm(running, bench)
    for (let repeat = 0; repeat < options.repeats; repeat += 1) {
      for (const measurement of measurementsOf(options).filter(({ name }) => options.only.test(name)))
        await measureOne(measurement, running, bench, keep)
    }
  } finally {
    await stop()
  }
  const soaked = running.find(({ row }) => row.name === 'trunkline node')
  if (options.soak > 0 && soaked)
    for (const look of await measureSoak(soaked.row, bench, soaked.address))
      keep(soaked.row.name, `soak@${look.requests}`, look)
  if (!options.only.test('start') && !options.only.test('memory')) return [...cells.values()]
  for (let repeat = 0; repeat < options.repeats; repeat += 1)
    for (const { row, address } of running.filter(({ row }) => row.kind !== 'direct'))
      keep(row.name, 'start', await measureFresh(row, bench, address))
  return [...cells.values()]
}

/** Rows in turns, so that whatever else the machine does meets them all. */
async function measureOne(
  measurement: Measurement,
  running: readonly Running[],
  bench: Bench,
  keep: (row: string, measurement: string, figures: Cell['repeats'][number]) => void,
): Promise<void> {
  for (const one of running) {
    if (!measurement.fits(one.row)) continue
    progress(`${measurement.name}  ${one.row.name}`)
    keep(one.row.name, measurement.name, await measurement.run(one, bench))
  }
}

/** Just-in-time compilers get their time before anything counts. */
async function warm(running: readonly Running[], bench: Bench): Promise<void> {
  for (const one of running) {
    progress(`warming  ${one.row.name}`)
    const ms = firstMs[bench.options.mode]
    const outcome = await bench.load.run(
      { kind: 'closed', inFlight: 32, ms, warmMs: 0 },
      { address: one.address, pids: [] },
    )
    if (outcome.errors > 0) bench.broken(one.row.name, 'warming', String(outcome.error))
  }
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}

const machine = (): string =>
  `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${process.platform}`

function writeJson(
  { json, mode, repeats, ms }: BenchOptions,
  cells: readonly Cell[],
  faults: readonly string[],
): void {
  const file = resolve(folder, json)
  mkdirSync(dirname(file), { recursive: true })
  const made = { date: new Date().toISOString(), machine: machine(), mode, repeats, ms, faults, cells }
  writeFileSync(file, `${JSON.stringify(made, null, 2)}\n`)
}

/** `npm run bench`. Exits with 1 where something answered wrongly; no time is judged here. */
const options = readBenchOptions(process.argv.slice(2))
if (options.help) console.log(usage)
else process.exitCode = await run(options)
