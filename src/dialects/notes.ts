import { Failure } from './failure.ts'
import type { Json } from './hub.ts'

/** Values that ask for nothing but what happens anyway. */
const neutral: Json = {
  n: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
  logprobs: false,
  top_logprobs: 0,
  parallel_tool_calls: true,
  service_tier: 'auto',
  tool_choice: 'auto',
  truncation: 'disabled',
  summary: 'auto',
  background: false,
  defer_loading: false,
}
/** Fields that ask nothing of the answer: who asks, and how to keep or cache it. */
const hints =
  /^(user|name|annotations|eager_input_streaming|safety_identifier|summary|generate_summary|metadata|store|prompt_cache_(key|retention|options)|service_tier|cache_control|stream_options|include)$/

/** Characters of one name that are told, and of the names in a header. */
const [nameLength, namesLength] = [80, 1_000]

/** A name as it may stand in a header (RFC 9110, 5.6.2): it may be any text that a client has written. */
const printable = (field: string): string =>
  field.slice(0, nameLength).replace(/[^!#$%&'*+.^_`|~0-9a-z-]/gi, '?')

/** What of a request a provider cannot do: refused, or in lenient mode left out and told. */
export class Notes {
  readonly #provider: string
  readonly #isLenient: boolean
  readonly #dropped = new Set<string>()

  constructor(provider: string, isLenient: boolean) {
    this.#provider = provider
    this.#isLenient = isLenient
  }

  /** Fields that were left out. */
  get dropped(): readonly string[] {
    return [...this.#dropped]
  }

  /** The same as the value of a header; undefined where there are none. */
  get header(): string | undefined {
    const names = [...this.#dropped].slice(0, namesLength).join(', ')
    if (names.length <= namesLength) return names || undefined
    return `${names.slice(0, names.lastIndexOf(',', namesLength))}, ...`
  }

  /** The provider has no way to do it. @throws Failure in strict mode */
  refuse(field: string, reason: string = `not supported by ${this.#provider}`): void {
    const name = printable(field)
    if (!this.#isLenient) throw new Failure(400, `${name}: ${reason}`, 'unsupported_parameter', name)
    this.leave(name)
  }

  /** Left out in either mode, as it changes nothing of what was asked for. */
  leave(field: string): void {
    this.#dropped.add(printable(field))
  }

  /** The fields that a dialect has not used. @throws Failure in strict mode */
  rest(fields: Json, prefix = ''): void {
    for (const [field, value] of Object.entries(fields)) {
      if (isNothing(field, value) || value === neutral[field]) continue
      if (hints.test(field)) this.leave(prefix + field)
      else this.refuse(prefix + field)
    }
  }
}

function isNothing(field: string, value: unknown): boolean {
  if (value === undefined || value === null) return true
  if (field === 'web_search_options' || field === 'parallel_tool_calls') return value === true
  const text = typeof value === 'object' ? JSON.stringify(value) : ''
  return text === '{}' || text === '[]' || text === '["text"]' || text === '{"type":"text"}'
}
