import type { Handler, Stage } from '../types.ts'
import { createRecord, type Recording } from './record.ts'
import { createRoute } from './route.ts'
import type { Send } from './send.ts'
import { createTranslate, shapeErrors } from './translate.ts'

/** What every call passes on its way, outermost first; cache and limits take their place here. */
const stages: readonly Stage[] = [shapeErrors]

/** From a call to its result, over whichever way in it came. */
export function createPipeline(send: Send, recording: Recording | undefined): Handler {
  const route = createRoute(createTranslate(createRecord(send, recording)))
  return stages.reduceRight<Handler>((next, stage) => (call) => stage(call, next), route)
}
