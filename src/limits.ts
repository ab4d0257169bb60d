/** Every limit of the gateway, with its unit. Those an operator may set are fields of the configuration too. */
export const limits = {
  /** One message on a socket; the ceiling of Workers, kept everywhere. */
  messageBytes: 33_554_432,
  /** One body that must be held whole: a universal request, or a single answer put into a frame. */
  bodyBytes: 33_554_432,
  /** Of a body over its limit, this much more is read and dropped before its client is cut off. */
  discardBytes: 33_554_432,
  /** A streamed request body up to this size is held, so that it can be sent again on a retry. */
  replayBytes: 1_048_576,
  /** One server-sent event of a provider. */
  eventBytes: 8_388_608,
  /** Messages of requests under way or waiting on one socket, together. */
  sessionBytes: 67_108_864,
  /** Answers to faulty messages that one client has not read. */
  unsentRefusals: 1_000,
  /** Steps of one universal request. */
  steps: 32,
  /** Requests that run at once on one socket. */
  inFlight: 64,
  /** Requests that wait for a place on one socket. */
  queued: 256,
  /** Wait for a provider's headers where the client names no time-out. */
  firstByteMs: 600_000,
  /** Silence of a provider inside a body that goes to a socket. */
  silenceMs: 600_000,
  /** `Retry-After` of a provider is honoured up to this. */
  retryAfterMs: 5_000,
  /** A client's or provider's frame buffer beyond which sending waits. */
  socketBufferBytes: 8_388_608,
} as const
