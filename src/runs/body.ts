import { toGatewayError } from '../errors.ts'
import { breakOff } from '../streams.ts'
import type { Reader } from './run.ts'

/** What a reader still reads, as a body that breaks off where its run did. `left` is called when it is left. */
export function toBody(reader: Reader, left: () => void = () => reader.close()): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const event = await reader.next()
          if (event) return controller.enqueue(event.bytes)
          const { outcome } = reader.run.terminal ?? {}
          if (outcome === 'completed' || outcome === 'failed') controller.close()
          else await breakOff(controller, `run ${reader.run.id} ended ${outcome}`)
        } catch (error) {
          await breakOff(controller, `run ${reader.run.id}: ${toGatewayError(error).message}`) // a gap
        }
        reader.close()
      },
      cancel: left,
    },
    { highWaterMark: 0 },
  )
}
