import type { RealtimeDialect } from '../socket.ts'
import type { PathRule } from './row.ts'

/** What there is to know of a provider's own sockets, where it is not as with its requests. */
export interface SocketRow {
  /** Where they live; with the scheme `https`. */
  readonly base_url?: string
  /** Spellings of their paths, before those of the row. */
  readonly paths?: readonly PathRule[]
  /** The path of a request that has none, made from its parameter `model`. */
  readonly model?: string
  /** The parameter that carries the key, which then goes into no header. */
  readonly query?: string
  /** Parameters in which a client may bring its key, beside `api_key` and the provider's own. */
  readonly params?: readonly string[]
  /** Parameters that hold credentials the provider made; they pass, and take the place of a key. */
  readonly passes?: readonly string[]
  /** Subprotocols behind which the key stands as one of its own; lower case. */
  readonly keyNames?: readonly string[]
  /** The subprotocol that carries the key behind its first dot; lower case. */
  readonly keyPrefix?: string
  readonly dialect?: RealtimeDialect
}

/** OpenAI's, and those that took its wire over: the slug alone is the realtime endpoint. */
const realtime: SocketRow = {
  paths: [{ from: '', to: 'realtime' }],
  keyPrefix: 'openai-insecure-api-key',
  dialect: 'openai',
}
const xai: SocketRow = { ...realtime, keyPrefix: 'xai-client-secret' }
const gemini: SocketRow = {
  paths: [{ from: '', to: 'ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent' }],
  query: 'key',
  passes: ['access_token'],
  dialect: 'gemini',
}

/** Of the providers whose sockets are not just where their requests go, by slug. */
export const sockets: Readonly<Record<string, SocketRow>> = {
  openai: realtime,
  grok: xai,
  xai,
  'azure-openai': {
    paths: [{ from: '{resource}/{deployment}/realtime', to: 'realtime?deployment={deployment}' }],
    params: ['api-key'],
    keyPrefix: 'openai-insecure-api-key',
    dialect: 'openai',
  },
  google: gemini,
  'google-ai-studio': gemini,
  'google-vertex-ai': { dialect: 'gemini' },
  cartesia: { paths: [{ from: '', to: 'tts/websocket' }], passes: ['access_token'] },
  deepgram: { paths: [{ from: '', to: 'v1/listen' }], keyNames: ['token', 'bearer'] },
  elevenlabs: {
    paths: [{ from: '', to: 'v1/convai/conversation' }],
    keyPrefix: 'xi-api-key',
    passes: ['conversation_signature', 'single_use_token', 'token'],
  },
  // Models that answer over HTTP have their sockets on a host of their own, realtime ones do not.
  fal: {
    base_url: 'https://ws.fal.run',
    keyPrefix: 'fal-api-key',
    paths: [
      {
        from: '{owner}/{model}/realtime',
        to: '{owner}/{model}/realtime',
        base_url: 'https://fal.run',
      },
    ],
  },
  'workers-ai': { model: 'run/{model}' },
}

/** Every provider's, as a provider of the operator's own may have taken any of them over. */
export const keyPrefixes: ReadonlySet<string> = new Set(
  Object.values(sockets).flatMap(({ keyPrefix }) => keyPrefix ?? []),
)

/** Subprotocols that are known to hold no secret, and so may go to any provider. */
export const isHarmless = (name: string): boolean => /^(realtime|openai-beta\.[\w-]+)$/i.test(name)
