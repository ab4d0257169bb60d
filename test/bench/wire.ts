/** Told of one HTTP/1.1 message after another. */
export interface MessageHandler {
  /** Start line and headers. */
  head(text: string): void
  body(bytes: Buffer): void
  end(): void
  /** What came cannot be read. */
  fault(reason: string): void
}

const nothing = Buffer.alloc(0)
const blankLine = Buffer.from('\r\n\r\n')
const lineEnd = Buffer.from('\r\n')
const lengthPattern = /\r\ncontent-length: *(\d+)/i
const chunkedPattern = /\r\ntransfer-encoding: *chunked/i

/**
 * Reads the messages of one connection, in as few steps as that takes: the two ends of a bench must cost less than what
 * stands between them. Bodies have a length or come in chunks; trailers are not expected.
 */
export class MessageReader {
  readonly #handler: MessageHandler
  #rest: Buffer = nothing
  #place: 'head' | 'body' | 'size' | 'chunk' | 'last' = 'head'
  #left = 0

  constructor(handler: MessageHandler) {
    this.#handler = handler
  }

  push(bytes: Buffer): void {
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    let at = 0
    for (let next = this.#step(data, at); next > at; next = this.#step(data, at)) at = next
    this.#rest = at === data.length ? nothing : data.subarray(at)
  }

  /** Where the next step begins; where this one began, if more must come first. */
  #step(data: Buffer, at: number): number {
    if (at >= data.length) return at
    switch (this.#place) {
      case 'head':
        return this.#head(data, at)
      case 'size':
        return this.#size(data, at)
      case 'last':
        return this.#last(data, at)
      default:
        return this.#take(data, at)
    }
  }

  #head(data: Buffer, at: number): number {
    const end = data.indexOf(blankLine, at)
    if (end < 0) return at
    const text = data.toString('latin1', at, end)
    this.#left = Number(lengthPattern.exec(text)?.[1] ?? 0)
    this.#place = chunkedPattern.test(text) ? 'size' : 'body'
    this.#handler.head(text)
    if (this.#place === 'body' && this.#left === 0) this.#end()
    return end + 4
  }

  #take(data: Buffer, at: number): number {
    const end = Math.min(data.length, at + this.#left)
    this.#left -= end - at
    this.#handler.body(data.subarray(at, end))
    if (this.#left > 0) return end
    if (this.#place === 'body') this.#end()
    else this.#place = 'size'
    return end
  }

  #size(data: Buffer, at: number): number {
    const from = data[at] === 13 ? at + 2 : at // the line end behind the chunk before
    const end = data.indexOf(lineEnd, from)
    if (end < 0) return at
    this.#left = Number.parseInt(data.toString('latin1', from, end), 16)
    if (Number.isNaN(this.#left)) this.#handler.fault('a chunk without its size')
    this.#place = this.#left === 0 ? 'last' : 'chunk'
    return end + 2
  }

  #last(data: Buffer, at: number): number {
    if (data.length < at + 2) return at
    this.#end()
    return at + 2
  }

  #end(): void {
    this.#place = 'head'
    this.#handler.end()
  }
}

/** Between the two clocks of this process; a pause between the two looks makes it too small, so the largest is true. */
const offsetUs = Math.max(
  ...Array.from({ length: 100 }, () => Number(process.hrtime.bigint()) / 1_000 - performance.now() * 1_000),
)

/** Microseconds of the machine's own clock, the same in every process. */
export const nowUs = (): number => performance.now() * 1_000 + offsetUs
