import { Readable, type Transform } from 'node:stream'
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
} from 'node:zlib'
import type { ByteReader, ByteSource } from '../../src/plain.ts'

/** What has come is handed on at once, and a body that lacks its end gives what it has, as `fetch` does. */
const flush = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }
const brotliFlush = {
  flush: constants.BROTLI_OPERATION_FLUSH,
  finishFlush: constants.BROTLI_OPERATION_FLUSH,
}
const zstdFlush = { flush: constants.ZSTD_e_continue, finishFlush: constants.ZSTD_e_end }

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: () => createGunzip(flush),
  'x-gzip': () => createGunzip(flush),
  deflate: () => createInflate(flush),
  br: () => createBrotliDecompress(brotliFlush),
  zstd: () => createZstdDecompress(zstdFlush),
}

/** A body without its content codings; codings that are not known stay. */
export function decoded(body: ByteSource, codings: string | null): ByteSource {
  if (codings === null) return body
  const names = codings.toLowerCase().split(',')
  return names.reduceRight((source, name) => {
    const create = decoders[name.trim()]
    return create ? through(source, create()) : source
  }, body)
}

function through(source: ByteSource, decoder: Transform): ByteSource {
  const input = Readable.from(partsOf(source.getReader()), { objectMode: false })
  input.on('error', (error) => decoder.destroy(error))
  const parts = input.pipe(decoder).iterator({ destroyOnReturn: true })
  const cancel = async (reason?: unknown): Promise<void> => {
    decoder.destroy()
    input.destroy()
    await source.cancel(reason)
  }
  const reader: ByteReader = {
    async read() {
      const { done, value } = (await parts.next()) as IteratorResult<Buffer, undefined>
      return done ? { done: true } : { done: false, value }
    },
    cancel,
  }
  return { getReader: () => reader, cancel }
}

async function* partsOf(reader: ByteReader): AsyncGenerator<Uint8Array> {
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value
}
