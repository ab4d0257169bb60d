import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { ByteSource } from '../plain.ts'
import { copyInto } from './pump.ts'
import { Run } from './run.ts'
import type { Head, Owner, Terminal } from './terms.ts'

/** What is asked of the home of a run. */
export interface RunQuery {
  readonly verb: 'resume' | 'describe' | 'stop'
  readonly runId: string
  /** Who asks; checked there. */
  readonly owner: Owner
  /** First event; of `resume`. */
  readonly from: number
}

/** Asks another home; its answer is the one that HTTP gives (PROTOCOL.md, "Runs over HTTP"). */
export type AskElsewhere = (query: RunQuery) => Promise<Response>

/**
 * A run that lives in another home, to be read here from an event on. Its terminal record is the other's.
 * @throws GatewayError forbidden, gap
 */
export async function readElsewhere(ask: AskElsewhere, query: RunQuery, windowBytes: number): Promise<Run> {
  const [state, response] = await Promise.all([
    ask({ ...query, verb: 'describe' }).then((answer) => (answer.ok ? readState(answer) : undefined)),
    ask({ ...query, verb: 'resume' }),
  ])
  if (!state || !response.body) throw new GatewayError(response.status === 410 ? 'gap' : 'forbidden')
  const { runId: id, owner, from } = query
  const eventId = state.eventId ?? newId()
  const init = { id, eventId, owner, onDisconnect: 'detach', raw: false, keepBytes: 0, windowBytes } as const
  const run = new Run(init, from)
  run.start()
  run.begin(toHead(response, eventId))
  void fill(run, response.body, () => ask({ ...query, verb: 'describe' }))
  return run
}

/** Never rejects. */
async function fill(run: Run, body: ByteSource, describe: () => Promise<Response>): Promise<void> {
  const lost: Terminal = { outcome: 'incomplete', upstreamStopped: false }
  await copyInto(run, body).catch(() => undefined) // how it ended, its own home tells
  const state = await describe()
    .then(readState)
    .catch(() => undefined)
  run.finish(state?.outcome ? { ...lost, ...state, outcome: state.outcome } : lost)
}

type State = Partial<Terminal> & { readonly eventId?: string }

async function readState(response: Response): Promise<State> {
  const { eventId, outcome, upstreamStopped, usage, cost, error } = (await response.json()) as State
  return {
    ...(eventId !== undefined && { eventId }),
    ...(outcome && { outcome }),
    ...(upstreamStopped !== undefined && { upstreamStopped }),
    ...(usage && { usage }),
    ...(cost && { cost }),
    ...(error && { error }),
  }
}

function toHead({ status, headers }: Response, eventId: string): Head {
  const contentType = headers.get('content-type') ?? ''
  const cacheStatus = headers.get('cf-aig-cache-status') ?? 'MISS'
  const step = headers.get('cf-aig-step') ?? '0'
  return {
    status,
    contentType,
    headers: [...headers].filter(([name]) => !name.startsWith('cf-aig-')),
    metadata: { cacheStatus, eventId, step, status, contentType },
  }
}
