/**
 * Headers that were read from the wire already: what the web's own class does, without its checks, its sorting and its
 * cost. Names are kept in lower case, values of one name as one, in the order they came.
 */
export class Fields implements Headers {
  readonly #fields: Map<string, string>

  constructor(fields: Iterable<readonly [name: string, value: string]> = []) {
    if (fields instanceof Fields) {
      this.#fields = new Map(fields.#fields) // in lower case already
      return
    }
    this.#fields = new Map()
    for (const [name, value] of fields) this.append(name, value)
  }

  get(name: string): string | null {
    return this.#fields.get(name.toLowerCase()) ?? null
  }
  has(name: string): boolean {
    return this.#fields.has(name.toLowerCase())
  }
  set(name: string, value: string): void {
    this.#fields.set(name.toLowerCase(), value)
  }
  append(name: string, value: string): void {
    const key = name.toLowerCase()
    const held = this.#fields.get(key)
    this.#fields.set(key, held === undefined ? value : `${held}, ${value}`)
  }
  delete(name: string): void {
    this.#fields.delete(name.toLowerCase())
  }
  getSetCookie(): string[] {
    const held = this.get('set-cookie')
    return held === null ? [] : [held]
  }
  forEach(visit: (value: string, name: string, parent: Headers) => void): void {
    for (const [name, value] of this.#fields) visit(value, name, this)
  }
  entries(): HeadersIterator<[string, string]> {
    return this.#fields.entries()
  }
  keys(): HeadersIterator<string> {
    return this.#fields.keys()
  }
  values(): HeadersIterator<string> {
    return this.#fields.values()
  }
  [Symbol.iterator](): HeadersIterator<[string, string]> {
    return this.#fields.entries()
  }
}

/** How long a body is; null where it does not say, or says it of one that `fetch` has decoded. */
export function lengthOf(headers: Headers): string | null {
  return headers.has('content-encoding') ? null : headers.get('content-length')
}
