import { parts } from '../../adapters/parts.ts'
import { createGateway, parseConfig } from '../../src/index.ts'
import type { OutboundRequest } from '../../src/plain.ts'

/** What a provider answers to a request. */
export type Provider = (request: OutboundRequest) => Response

/** Asks one API of `compat`, with a body as JSON or as it is. */
export type Post = (path: string, body: unknown, headers?: Record<string, string>) => Promise<Response>

const slugs = ['openai', 'anthropic', 'google-ai-studio', 'groq', 'cohere', 'workers-ai', 'xai'] as const

/** A gateway in this process, whose providers are a function. */
export function createCompat(
  provider: Provider,
  more: { readonly gateway?: object; readonly config?: object } = {},
): Post {
  const ids = { 'workers-ai': { account_id: 'a' } } as Readonly<Record<string, object>>
  const providers = Object.fromEntries(
    slugs.map((slug) => [slug, { base_url: `https://${slug}.test/${slug}`, api_key: 'k', ...ids[slug] }]),
  )
  const gateway = createGateway(
    parseConfig({
      gateways: [{ id: 'default', authentication: false, retry_max_attempts: 1, ...more.gateway }],
      providers,
      ...more.config,
    }),
    {
      fetch: async (request) => provider(request),
      connect: () => Promise.reject(new Error('no sockets here')),
      report: () => undefined,
    },
    parts,
  )
  return (path, body, headers = {}) =>
    gateway.fetch(
      new Request(`http://localhost/v1/default/default/compat/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    )
}

/** What a stream tells before it ends, and whether it broke. */
export async function readAll({ body }: Response): Promise<{ text: string; isBroken: boolean }> {
  let text = ''
  try {
    for await (const part of body!.pipeThrough(new TextDecoderStream())) text += part
    return { text, isBroken: false }
  } catch {
    return { text, isBroken: true }
  }
}

/** Server-sent events, named where they have a type. */
export function sse(events: readonly unknown[], { isDone = true }: { isDone?: boolean } = {}): Response {
  const lines = events.map((data) => {
    const { type } = data as { type?: string }
    return `${type === undefined ? '' : `event: ${type}\n`}data: ${JSON.stringify(data)}\n\n`
  })
  return new Response(lines.join('') + (isDone ? 'data: [DONE]\n\n' : ''), {
    headers: { 'content-type': 'text/event-stream' },
  })
}

/** A whole answer in OpenAI's wire. */
export const completion = (content: string): Response =>
  Response.json({
    id: 'x',
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  })
