import process from 'node:process'
import { createTranslation } from '../../src/dialects/translation.ts'
import { apis, base, dialects, sampleStream } from '../unit/dialects.ts'
import { quantile } from './stats.ts'

const words = 200
const [warmMs, measureMs] = [400, 600]
/** Microseconds of one event, at most (median of all streams of a dialect). */
const goalUs = 40

/** Microseconds that each event of one stream costs: cut into events, translated, and written again. */
function measure(pieces: readonly Uint8Array[], start: () => ReturnType<typeof translationOf>): number {
  const began = performance.now()
  const stream = start()
  let bytes = 0
  for (const piece of pieces) bytes += stream.push(piece).bytes.byteLength
  bytes += stream.end().bytes.byteLength
  if (bytes === 0) throw new Error('nothing was translated')
  return ((performance.now() - began) * 1_000) / pieces.length
}

function translationOf(dialect: string, api: (typeof apis)[number]) {
  const chat = { model: 'm', messages: [], stream: true }
  return createTranslation({ api, dialect: dialects.get(dialect)!, chat, base }).stream()
}

/** `npm run bench:translate`: every dialect to every API, in this process. */
let isMissed = false
for (const dialect of dialects.keys()) {
  const pieces = sampleStream(dialect, words)
  for (const api of apis) {
    const costs: number[] = []
    const began = performance.now()
    while (performance.now() - began < warmMs + measureMs) {
      const us = measure(pieces, () => translationOf(dialect, api))
      if (performance.now() - began > warmMs) costs.push(us)
    }
    costs.sort((a, b) => a - b)
    const [p50, p99] = [quantile(costs, 0.5), quantile(costs, 0.99)]
    isMissed ||= p50 > goalUs
    const figures = [p50, p99].map((us) => us.toFixed(2).padStart(7)).join('')
    const isMet = p50 <= goalUs ? 'met   ' : 'missed'
    console.log(`${isMet}  ${`${dialect} to ${api.name}`.padEnd(30)} µs per event, p50 and p99:${figures}`)
  }
}
process.exitCode = isMissed ? 1 : 0
