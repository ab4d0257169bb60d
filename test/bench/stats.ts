/** The value below which a part of the samples lies. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = Float64Array.from(samples).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** The middle of the samples. */
export const median = (samples: readonly number[]): number => {
  const sorted = Float64Array.from(samples).sort()
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}
