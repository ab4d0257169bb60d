import { toGatewayError } from '../errors.ts'
import type { ByteReader, ByteSource } from '../plain.ts'
import { breakOff } from '../streams.ts'
import type { Reader } from './reader.ts'

/** What a reader still reads, as a body that breaks off where its run did. */
export function toBody(reader: Reader): ByteSource {
  const bytes: ByteReader = {
    async read() {
      const event = await reader.next().catch((error: unknown) => fall(reader, toGatewayError(error).message)) // a gap
      if (event) return { done: false, value: event.bytes }
      if (reader.isClosed) return { done: true } // nobody reads on
      const { outcome } = reader.run.terminal ?? {}
      if (outcome !== 'completed' && outcome !== 'failed') return fall(reader, `ended ${outcome}`)
      reader.close()
      return { done: true }
    },
    cancel: async () => reader.close(),
  }
  return { getReader: () => bytes, cancel: bytes.cancel }
}

const fall = (reader: Reader, why: string): Promise<never> =>
  breakOff(`run ${reader.run.id}: ${why}`).finally(() => reader.close())
