import type { LogPlace, LogQuery, LogStats } from './logs.ts'

type Order = Pick<LogQuery, 'orderBy' | 'direction'>

/** Compares two logs by their places: as asked, what is not known last, of equals the newest id first. */
export function comparePlaces({ direction }: Order): (one: LogPlace, other: LogPlace) => number {
  const sign = direction === 'asc' ? 1 : -1
  return ({ id, at: a }, { id: otherId, at: b }) => {
    if (a === null || b === null) return Number(a === null) - Number(b === null) || compare(otherId, id)
    return sign * compare(a, b) || compare(otherId, id)
  }
}

const compare = (one: string | number, other: string | number): number =>
  one === other ? 0 : one < other ? -1 : 1

/** The first `count` of several lists, each of which is in that order. */
export function mergePlaces(
  lists: readonly (readonly LogPlace[])[],
  order: Order,
  count: number,
): LogPlace[] {
  const filled = lists.filter((list) => list.length > 0)
  if (filled.length < 2) return (filled[0] ?? []).slice(0, count)
  return filled.flat().sort(comparePlaces(order)).slice(0, count)
}

/** Extremes of several selections together. */
export function mergeStats(parts: readonly LogStats[]): LogStats {
  const names = Object.keys(parts[0] ?? {}) as (keyof LogStats)[]
  const merged = names.map((name) => {
    const known = parts.map((part) => part[name]).filter((value) => value !== null)
    const extreme = name.startsWith('min') ? Math.min(...known) : Math.max(...known)
    return [name, known.length > 0 ? extreme : null]
  })
  return Object.fromEntries(merged) as LogStats
}
