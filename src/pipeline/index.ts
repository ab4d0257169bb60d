import type { Handler, Stage } from '../types.ts'
import { createRoute } from './route.ts'
import type { Send } from './send.ts'

/** What every call passes on its way, outermost first; limits, records and cache take their place here. */
const stages: readonly Stage[] = []

/** From a call to its result, over whichever way in it came. */
export function createPipeline(send: Send): Handler {
  return stages.reduceRight<Handler>((next, stage) => (call) => stage(call, next), createRoute(send))
}
