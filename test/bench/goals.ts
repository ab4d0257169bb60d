import type { Results } from './table.ts'

/** A ratio within one run, and what it should be. */
interface Goal {
  readonly name: string
  readonly value: number | undefined
  readonly goal: number
  /** Whether less is better. */
  readonly isCeiling?: boolean
}

/** The ratios this project holds itself to; those that were not measured are left out. */
export function toGoals(results: Results): string {
  const figure = (row: string, measurement: string, name = 'perSecond') => results.get(row, measurement, name)
  const ratio = (one: number | undefined, other: number | undefined) =>
    one === undefined || other === undefined ? undefined : one / other
  const added = (row: string): number | undefined => {
    const [own, direct] = [row, 'direct'].map((name) => figure(name, 'requests@1', 'p50'))
    return own === undefined || direct === undefined ? undefined : own - direct
  }
  const ofControl = (runtime: string, goal: number): Goal => ({
    name: `${runtime}: requests/s at 32, of its control`,
    value: ratio(figure(`trunkline ${runtime}`, 'requests@32'), figure(`control ${runtime}`, 'requests@32')),
    goal,
  })
  const ofPortkey = (runtime: string, goal: number): Goal => ({
    name: `${runtime}: requests/s at 32, of Portkey's`,
    value: ratio(figure(`trunkline ${runtime}`, 'requests@32'), figure(`portkey ${runtime}`, 'requests@32')),
    goal,
  })
  const perRuntime = ['node', 'bun', 'deno', 'workers'].flatMap((runtime): Goal[] => {
    const [own, control, socket] = [
      `trunkline ${runtime}`,
      `control ${runtime}`,
      `trunkline ${runtime} socket`,
    ]
    const first = (row: string) => figure(row, 'paced', 'first')
    const [mine, theirs] = [first(own), first(control)]
    return [
      {
        name: `${runtime}: requests/s at 32 over one socket, of its own HTTP`,
        value: ratio(figure(socket, 'requests@32'), figure(own, 'requests@32')),
        goal: 1.2,
      },
      {
        name: `${runtime}: CPU per request over one socket, of its own HTTP`,
        value: ratio(figure(socket, 'requests@32', 'cpuUs'), figure(own, 'requests@32', 'cpuUs')),
        goal: 1,
        isCeiling: true,
      },
      {
        name: `${runtime}: events/s of 64 streams, of its control`,
        value: ratio(
          figure(own, 'streams', 'eventsPerSecond'),
          figure(control, 'streams', 'eventsPerSecond'),
        ),
        goal: 0.7,
      },
      {
        name: `${runtime}: ms to the first event, beyond its control's`,
        value: mine === undefined || theirs === undefined ? undefined : (mine - theirs) / 1_000,
        goal: 1,
        isCeiling: true,
      },
    ]
  })
  const goals: Goal[] = [
    ofControl('node', 0.55),
    ofControl('bun', 0.65),
    ofControl('deno', 0.6),
    ofControl('workers', 0.5),
    ofPortkey('node', 3.5),
    ofPortkey('bun', 1.2),
    {
      name: "node: added p50 at 1, of Portkey's",
      value: ratio(added('trunkline node'), added('portkey node')),
      goal: 0.4,
      isCeiling: true,
    },
    {
      name: 'node: p50 at 1 with records, limits and cache, of that without',
      value: ratio(figure('trunkline node', 'requests@1', 'p50'), figure('bare node', 'requests@1', 'p50')),
      goal: 1.15,
      isCeiling: true,
    },
    ...perRuntime,
    ...[
      ['node', 300, 25],
      ['bun', 150, 12],
    ].flatMap(([runtime, start, kb]): Goal[] => [
      {
        name: `${runtime}: ms to the first served request`,
        value: figure(`trunkline ${runtime}`, 'start', 'startMs'),
        goal: Number(start),
        isCeiling: true,
      },
      {
        name: `${runtime}: KB per idle socket`,
        value: figure(`trunkline ${runtime} socket`, 'start', 'perSocketKb'),
        goal: Number(kb),
        isCeiling: true,
      },
    ]),
  ]
  const known = goals.filter(({ value }) => value !== undefined)
  const width = Math.max(...known.map(({ name }) => name.length), 0)
  const lines = known.map(({ name, value = 0, goal, isCeiling = false }) => {
    const isMet = isCeiling ? value <= goal : value >= goal
    return `${isMet ? 'met   ' : 'missed'}  ${name.padEnd(width)}  ${value.toFixed(2).padStart(8)}  (${isCeiling ? 'at most' : 'at least'} ${goal})`
  })
  return ['Ratios and limits', ...lines].join('\n')
}
