import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks of Linux's accounts, in microseconds. */
const tickUs = 10_000

interface Stat {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly cpuUs: number
}

/** What Linux tells of a process; undefined where it is gone, or where this is no Linux. */
function statOf(pid: string | number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const cpuUs = (Number(fields[11]) + Number(fields[12])) * tickUs
    return { pid: Number(pid), parent: Number(fields[1]), group: Number(fields[2]), cpuUs }
  } catch {
    return undefined
  }
}

/** The processes of a group that do the work: those that have started no other of it. */
export function workersOf(group: number): number[] {
  const all = pids().flatMap((pid) => statOf(pid) ?? [])
  const own = all.filter((stat) => stat.group === group)
  return own.filter(({ pid }) => !own.some(({ parent }) => parent === pid)).map(({ pid }) => pid)
}

function pids(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}

/** Microseconds of processor time that processes have used so far. */
export function cpuUsOf(own: readonly number[]): number {
  return own.reduce((sum, pid) => sum + threadsUs(pid), 0)
}

/** The scheduler counts in nanoseconds, per thread; the account of the whole process only in ticks. */
function threadsUs(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const ns = threads.map((thread) =>
      Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]),
    )
    return ns.reduce((sum, one) => sum + one, 0) / 1_000
  } catch {
    return statOf(pid)?.cpuUs ?? Number.NaN
  }
}

/** Bytes of memory that processes hold. */
export function rssOf(own: readonly number[]): number {
  return own.reduce((sum, pid) => sum + residentBytes(pid), 0)
}

function residentBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1_024
  } catch {
    return Number.NaN
  }
}
