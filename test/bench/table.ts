import type { Cell } from './measure.ts'
import type { Row } from './rows.ts'
import { median } from './stats.ts'

/** A column: its head, and what stands in it for a row. */
interface Column {
  readonly head: string
  of(row: string): string
}

/** Medians over repeats, looked up by row, measurement and figure. */
export interface Results {
  get(row: string, measurement: string, figure: string): number | undefined
  /** Half the distance between the smallest and the largest repeat, in percent of the median. */
  spread(row: string, measurement: string, figure: string): number
}

/** Make the look-up. */
export function toResults(cells: readonly Cell[]): Results {
  const values = (row: string, measurement: string, figure: string): number[] =>
    cells
      .filter((cell) => cell.row === row && cell.measurement === measurement)
      .flatMap(({ repeats }) => repeats.flatMap((figures) => figures[figure] ?? []))
      .filter((value) => Number.isFinite(value))
  return {
    get(row, measurement, figure) {
      const found = values(row, measurement, figure)
      return found.length === 0 ? undefined : median(found)
    },
    spread(row, measurement, figure) {
      const found = values(row, measurement, figure)
      return ((Math.max(...found) - Math.min(...found)) / 2 / median(found)) * 100
    },
  }
}

const dash = '–'
const round = (value: number, places = 0): string => value.toFixed(places)
const thousands = (value: number): string => `${(value / 1_000).toFixed(1)}k`
const ms = (us: number): string => (us / 1_000).toFixed(us < 10_000 ? 2 : 0)

/** All tables, as text. */
export function toTables(rows: readonly Row[], results: Results): string {
  const column = (
    head: string,
    measurement: string,
    figure: string,
    write: (value: number) => string,
  ): Column => ({
    head,
    of(row) {
      const value = results.get(row, measurement, figure)
      return value === undefined ? dash : write(value)
    },
  })
  const withSpread = (
    head: string,
    measurement: string,
    figure: string,
    write: (value: number) => string,
  ): Column => ({
    head,
    of(row) {
      const value = results.get(row, measurement, figure)
      return value === undefined
        ? dash
        : `${write(value)} ±${round(results.spread(row, measurement, figure))}%`
    },
  })
  const added: Column = {
    head: 'added µs @1',
    of(row) {
      const [own, direct] = [row, 'direct'].map((name) => results.get(name, 'requests@1', 'p50'))
      return own === undefined || direct === undefined ? dash : round(own - direct)
    },
  }
  const requests = [
    withSpread('req/s @1', 'requests@1', 'perSecond', thousands),
    column('p50 µs', 'requests@1', 'p50', round),
    column('p99 µs', 'requests@1', 'p99', round),
    added,
    ...[32, 256].flatMap((inFlight) => {
      const name = `requests@${inFlight}`
      return [
        withSpread(`req/s @${inFlight}`, name, 'perSecond', thousands),
        column('p50 ms', name, 'p50', ms),
        column('p99 ms', name, 'p99', ms),
        column('CPU µs', name, 'cpuUs', round),
      ]
    }),
  ]
  const streams = [
    withSpread('events/s', 'streams', 'eventsPerSecond', thousands),
    column('CPU µs/event', 'streams', 'cpuUsPerEvent', (value) => round(value, 1)),
    column('first ms, burst', 'streams', 'first', ms),
    column('first ms, paced', 'paced', 'first', ms),
    column('delay p50 ms', 'paced', 'delayP50', ms),
    column('p99', 'paced', 'delayP99', ms),
    column('max', 'paced', 'delayMax', ms),
    column('CPU µs/paced event', 'paced', 'cpuUsPerEvent', (value) => round(value, 1)),
  ]
  const bodies = [
    ['1 KB', 1_024],
    ['100 KB', 102_400],
    ['5 MB', 5_242_880],
  ].flatMap(([name, bytes]) => [
    withSpread(`req/s ${name}`, `bodies@${bytes}`, 'perSecond', (value) => round(value)),
    column('CPU µs', `bodies@${bytes}`, 'cpuUs', round),
  ])
  const process = [
    column('start ms', 'start', 'startMs', round),
    column('RSS MB idle', 'start', 'idleMb', round),
    column('at 256', 'requests@256', 'rssMb', round),
    column('KB per idle socket', 'start', 'perSocketKb', (value) => round(value, 1)),
    column('cancel p50 ms', 'cancel', 'p50', ms),
    column('p99', 'cancel', 'p99', ms),
    column('never', 'cancel', 'never', round),
    column('load busy @32', 'requests@32', 'loadBusy', (value) => `${round(value * 100)}%`),
  ]
  const named: readonly [string, Column[]][] = [
    ['Requests that are not streamed', requests],
    ['64 streams at once: 200 events as fast as they come; and one every 20 ms', streams],
    ['Request bodies, 8 in flight', bodies],
    ['Process; cancel to the close at the provider', process],
  ]
  return named.map(([title, columns]) => toTable(title, rows, columns)).join('\n\n')
}

/** The heap over many requests, where it was watched. */
export function toSoak(cells: readonly Cell[]): string {
  const looks = cells.flatMap(({ measurement, repeats }) => (measurement.startsWith('soak@') ? repeats : []))
  if (looks.length === 0) return ''
  const lines = looks.map(({ requests = 0, heapMb = 0, rssMb = 0 }) =>
    [requests.toFixed(0).padStart(8), heapMb.toFixed(1).padStart(15), rssMb.toFixed(0).padStart(6)].join(
      '  ',
    ),
  )
  return ['Memory over many requests', 'requests  heap MB after GC  RSS MB', ...lines, '', ''].join('\n')
}

function toTable(title: string, rows: readonly Row[], columns: readonly Column[]): string {
  const lines = rows
    .map(({ name }) => [name, ...columns.map(({ of }) => of(name))])
    .filter(([, ...texts]) => texts.some((text) => text !== dash))
  if (lines.length === 0) return `${title}: not measured`
  const all = [['', ...columns.map(({ head }) => head)], ...lines]
  const widths = all[0]!.map((_, index) => Math.max(...all.map((line) => line[index]!.length)))
  const toLine = (line: string[]): string =>
    line
      .map((text, index) => (index === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[index]!)))
      .join('  ')
  return [title, ...all.map(toLine)].join('\n')
}
