import { setTimeout as sleep } from 'node:timers/promises'
import { type Address, type Line, openIdle, openLines } from './lines.ts'
import { cpuUsOf } from './proc.ts'
import { quantile } from './stats.ts'
import { nowUs } from './wire.ts'

/** So many requests under way at every moment. */
export interface Closed {
  readonly kind: 'closed'
  readonly inFlight: number
  readonly ms: number
  /** Before anything is counted: connections, caches and compilers get warm. */
  readonly warmMs: number
  readonly bodyBytes?: number
}

/** What the load generator can be asked to do. */
export type Task =
  | Closed
  | { readonly kind: 'rate'; readonly perSecond: number; readonly ms: number }
  | { readonly kind: 'streams'; readonly streams: number; readonly model: string; readonly events: number }
  | { readonly kind: 'cancel'; readonly times: number; readonly upstream: number }
  | { readonly kind: 'idle'; readonly sockets: number; readonly settleMs: number }

/** Against whom, and whose processor time is to be counted. */
export interface Against {
  readonly address: Address
  readonly pids: readonly number[]
}

/** Figures by name; times in microseconds. */
export type Figures = Readonly<Record<string, number>>

/** What a task gave; errors are counted, and the first is told. */
export interface Outcome {
  readonly figures: Figures
  /** Requests answered, those before and after the window too. */
  readonly total: number
  readonly errors: number
  readonly error?: string
}

/** Until the first answer of every line. */
const answerMsMax = 20_000
const prompt =
  'You are a careful assistant. Answer in two sentences, name what you are unsure of, and do not repeat the question. What does a gateway add to the time of a request?'
const rateWarmMs = 150
/** A waiting line more is opened for each arrival that finds none, up to this many. */
const linesMax = 1_024
const cancelEveryMs = 5
const cancelAfterMs = 60
const cancelSettleMs = 300

let number = 0

/** A chat completion that differs from every other, of `bytes` or so. */
function toBody(model: string, bytes = 0, user = 'bench'): string {
  number += 1
  const filler = 'lorem ipsum '.repeat(Math.max(Math.ceil((bytes - 420) / 12), 0))
  const text = `${String(number).padStart(9, '0')} ${prompt}${filler}`
  return `{"model":"${model}","user":"${user}","stream":${model !== 'whole'},"temperature":0.2,"messages":[{"role":"system","content":"You are an assistant of few words."},{"role":"user","content":"${text}"}]}`
}

/** Carry out a task. Rejects where not even connections could be had. */
export function carryOut(task: Task, against: Against): Promise<Outcome> {
  switch (task.kind) {
    case 'closed':
      return closed(task, against)
    case 'rate':
      return rate(task, against)
    case 'streams':
      return streams(task, against)
    case 'cancel':
      return cancel(task, against)
    case 'idle':
      return idle(task, against)
    default:
      return task satisfies never
  }
}

/** Counts while it is open, and measures what processors did meanwhile. */
class Window {
  readonly times: number[] = []
  readonly #pids: readonly number[]
  /** Answered in all, in time or not. */
  total = 0
  errors = 0
  error: string | undefined
  #from = Number.POSITIVE_INFINITY
  #until = Number.POSITIVE_INFINITY
  #cpu = 0
  #own = process.cpuUsage()

  constructor(pids: readonly number[]) {
    this.#pids = pids
  }

  open(): void {
    this.#cpu = cpuUsOf(this.#pids)
    this.#own = process.cpuUsage()
    this.#from = nowUs()
  }

  close(): Figures {
    this.#until = nowUs()
    const seconds = (this.#until - this.#from) / 1e6
    const { user, system } = process.cpuUsage(this.#own)
    const count = this.times.length
    return {
      perSecond: count / seconds,
      p50: quantile(this.times, 0.5),
      p99: quantile(this.times, 0.99),
      cpuUs: (cpuUsOf(this.#pids) - this.#cpu) / count,
      loadBusy: (user + system) / 1e6 / seconds,
    }
  }

  count(beganUs: number, error?: string): void {
    const now = nowUs()
    if (error !== undefined) {
      this.errors += 1
      this.error ??= error
      return
    }
    this.total += 1
    if (now >= this.#from && now < this.#until) this.times.push(now - beganUs)
  }

  outcome(figures: Figures): Outcome {
    return {
      figures,
      total: this.total,
      errors: this.errors,
      ...(this.error !== undefined && { error: this.error }),
    }
  }
}

async function closed({ inFlight, ms, warmMs, bodyBytes }: Closed, against: Against): Promise<Outcome> {
  const lines = await openLines(against.address, inFlight)
  const window = new Window(against.pids)
  let isOver = false
  const repeat = (line: Line): void => {
    const beganUs = nowUs()
    line.ask({
      body: toBody('whole', bodyBytes),
      part: () => undefined,
      done(error) {
        window.count(beganUs, error)
        if (!isOver && error === undefined) repeat(line)
      },
    })
  }
  for (const line of lines) repeat(line)
  await sleep(warmMs)
  window.open()
  await sleep(ms)
  const figures = window.close()
  // A slow machine may not have answered once by now; what does not answer at all is broken.
  for (
    const until = nowUs() + answerMsMax * 1_000;
    window.total + window.errors < inFlight && nowUs() < until;
  )
    await sleep(10)
  if (window.total + window.errors < inFlight) window.count(0, `no answer within ${answerMsMax} ms`)
  isOver = true
  const outcome = window.outcome(figures) // what fails from here on is our own leaving
  for (const line of lines) line.leave()
  return outcome
}

/**
 * Requests that come when they come, every millisecond some, whether earlier ones are answered or not; those that find
 * no line wait for one, and that counts.
 */
async function rate({ perSecond, ms }: Task & { kind: 'rate' }, against: Against): Promise<Outcome> {
  const lines = await openLines(against.address, Math.min(64, linesMax))
  const free = [...lines]
  const window = new Window(against.pids)
  const waiting: number[] = []
  const send = (line: Line, dueUs: number): void => {
    line.ask({
      body: toBody('whole'),
      part: () => undefined,
      done(error) {
        window.count(dueUs, error)
        if (error !== undefined) return
        const next = waiting.shift()
        if (next === undefined) free.push(line)
        else send(line, next)
      },
    })
  }
  const arrive = (dueUs: number): void => {
    const line = free.pop()
    if (line) {
      send(line, dueUs)
      return
    }
    waiting.push(dueUs)
    if (lines.length >= linesMax) return
    void openLines(against.address, 1).then(([more]) => {
      if (!more) return
      lines.push(more)
      const next = waiting.shift()
      if (next === undefined) free.push(more)
      else send(more, next)
    })
  }
  const beganUs = nowUs()
  const openAt = beganUs + rateWarmMs * 1_000
  let arrived = 0
  let isOpen = false
  for (let now = beganUs; now < openAt + ms * 1_000; now = nowUs()) {
    if (!isOpen && now >= openAt) {
      window.open()
      isOpen = true
    }
    const due = ((now - beganUs) / 1e6) * perSecond
    for (; arrived < due; arrived += 1) arrive(now)
    await sleep(1) // a loop that spins would take the processor from what is measured
  }
  const figures = window.close()
  for (const line of lines) line.leave()
  return window.outcome({ ...figures, waiting: waiting.length })
}

const sentPattern = /"t":(\d+)/g
const blankLine = Buffer.from('\n\n')

/** Counts the events of a body that comes in parts: over HTTP by their blank lines, on a socket a frame is one. */
function createCount(address: Address): (bytes: Buffer) => number {
  if (address.over === 'socket') return () => 1
  let endsInFeed = false
  return (bytes) => {
    const isCut = endsInFeed && bytes[0] === blankLine[0]
    let events = isCut ? 1 : 0
    let at = bytes.indexOf(blankLine, isCut ? 1 : 0)
    for (; at >= 0; at = bytes.indexOf(blankLine, at + 2)) events += 1
    endsInFeed = bytes.at(-1) === blankLine[0] && bytes.at(-2) !== blankLine[0]
    return events
  }
}

/** Streams that begin at once, each to its end. */
async function streams(task: Task & { kind: 'streams' }, against: Against): Promise<Outcome> {
  const lines = await openLines(against.address, task.streams)
  const ends = task.events + (against.address.over === 'socket' ? 0 : 1) // over HTTP `[DONE]` is one more
  const window = new Window(against.pids)
  const firsts: number[] = []
  const delays: number[] = []
  let seen = 0
  const read = (line: Line): Promise<void> =>
    new Promise((resolve) => {
      const beganUs = nowUs()
      const count = createCount(against.address)
      let own = 0
      line.ask({
        body: toBody(task.model),
        part(bytes) {
          const now = nowUs()
          if (own === 0) firsts.push(now - beganUs)
          own += count(bytes)
          if (task.model.startsWith('burst')) return
          for (const [, sent] of bytes.toString('latin1').matchAll(sentPattern))
            delays.push(now - Number(sent))
        },
        done(error) {
          seen += own
          window.count(beganUs, error ?? (own === ends ? undefined : `${own} of ${ends} events`))
          resolve()
        },
      })
    })
  window.open()
  const beganUs = nowUs()
  await Promise.all(lines.map(read))
  const seconds = (nowUs() - beganUs) / 1e6
  const { cpuUs = 0, loadBusy = 0 } = window.close()
  for (const line of lines) line.leave()
  return window.outcome({
    eventsPerSecond: seen / seconds,
    first: quantile(firsts, 0.5),
    cpuUsPerEvent: (cpuUs * window.times.length) / seen,
    loadBusy,
    ...(delays.length > 0 && {
      delayP50: quantile(delays, 0.5),
      delayP99: quantile(delays, 0.99),
      delayMax: quantile(delays, 1),
    }),
  })
}

/** Clients that leave, every other one before there is an answer; how long until the provider's connection closes. */
async function cancel(task: Task & { kind: 'cancel' }, against: Against): Promise<Outcome> {
  const { times, upstream } = task
  const leave = async (time: number): Promise<number | null> => {
    await sleep(time * cancelEveryMs)
    const user = `cancel-${process.pid}-${number}`
    const [line] = await openLines(against.address, 1)
    line?.ask({
      body: toBody(time % 2 === 0 ? 'paced-500-20' : 'hang', 0, user),
      part: () => undefined,
      done: () => undefined,
    })
    await sleep(cancelAfterMs)
    const leftUs = nowUs()
    line?.leave()
    await sleep(cancelSettleMs)
    const response = await fetch(`http://127.0.0.1:${upstream}/closed/${user}`)
    const { closedUs } = (await response.json()) as { closedUs: number | null }
    return closedUs === null ? null : closedUs - leftUs
  }
  const all = await Promise.all(Array.from({ length: times }, (_, time) => leave(time)))
  const took = all.filter((us) => us !== null)
  return {
    figures: { p50: quantile(took, 0.5), p99: quantile(took, 0.99), never: times - took.length },
    total: times,
    errors: 0,
  }
}

let leaveIdle: (() => void) | undefined

/** Open sockets and keep them until the next call. */
async function idle({ sockets, settleMs }: Task & { kind: 'idle' }, { address }: Against): Promise<Outcome> {
  leaveIdle?.()
  leaveIdle = sockets === 0 ? undefined : await openIdle(address, sockets)
  await sleep(settleMs)
  return { figures: { sockets }, total: 0, errors: 0 }
}
