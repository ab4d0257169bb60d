/** Requests, responses and bodies as far as they are used here. The web's own are such, and a runtime may have lighter ones. */

/** Statuses whose responses have no body (Fetch standard, "null body status"). */
export const bodiless: ReadonlySet<number> = new Set([101, 103, 204, 205, 304])

/** A part of a body, or its end. */
export type Part =
  | { readonly done: false; readonly value: Uint8Array }
  | { readonly done: true; readonly value?: Uint8Array | undefined }

/** Reads a body part by part; the web's reader of a stream is one. */
export interface ByteReader {
  /** Rejects where the body breaks off. */
  read(): Promise<Part>
  /** Leave the rest, which closes the connection it would have come over. */
  cancel(reason?: unknown): Promise<void>
}

/** A body to be read once. The web's `ReadableStream` is one; a runtime may have lighter ones. */
export interface ByteSource {
  getReader(): ByteReader
  cancel(reason?: unknown): Promise<void>
  /** The same as the web has it, where there is one already; its runtime may know more of it, as its length. */
  readonly stream?: ReadableStream<Uint8Array> | null
}

/** As much of a request as is used here; the web's own is one. */
export interface PlainRequest extends Pick<Request, 'method' | 'url' | 'headers' | 'signal'> {
  readonly body: ByteSource | null
}

/** As much of a response as is used here; the web's own is one. */
export interface PlainResponse extends Pick<Response, 'status' | 'statusText' | 'ok' | 'headers'> {
  readonly body: ByteSource | null
}

/** A stream can be sent once only. */
export type OutboundBody = string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null

/** A request on its way to a provider. */
export interface OutboundRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  readonly body: OutboundBody
}
