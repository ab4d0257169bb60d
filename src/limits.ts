import * as z from 'zod/mini'

/** Every limit of the gateway, with its unit. Those an operator may set are fields of the configuration too. */
export const limits = {
  /** One message on a socket; the ceiling of Workers, kept everywhere. */
  messageBytes: 33_554_432,
  /** One body that must be held whole: a universal request, or a single answer put into a frame. */
  bodyBytes: 33_554_432,
  /** Of a body over its limit, this much more is read and dropped before its client is cut off. */
  discardBytes: 33_554_432,
  /** One body of the management API. */
  manageBodyBytes: 1_048_576,
  /** A streamed request body up to this size is held, so that it can be sent again on a retry. */
  replayBytes: 1_048_576,
  /** One server-sent event of a provider. */
  eventBytes: 8_388_608,
  /** Events that say nothing yet, held so that another provider may still answer in the place of one that fails. */
  quietEvents: 8,
  /** Of an answer that is cached, or shared by those who ask the same at once. */
  cacheBodyBytes: 8_388_608,
  /** Of one body in a record. */
  logBodyBytes: 1_048_576,
  /** Of a stream, to be made one body of for its record, which is some ten times smaller. */
  logStreamBytes: 4_194_304,
  /** Messages of requests under way or waiting on one socket, together. */
  sessionBytes: 67_108_864,
  /** Direct answers to messages, faults among them, that one client has not read. */
  unsentAnswers: 1_000,
  /** Characters of the settings that hold for each request of a session. */
  defaultsLength: 16_384,
  /** Runs that are told of over one connection at once. */
  readings: 1_000,
  /** Steps of one universal request. */
  steps: 32,
  /** Characters kept of one streamed answer, where its end has to repeat them. */
  answerLength: 33_554_432,
  /** Messages, or items, of one conversation that is translated. */
  turns: 100_000,
  /** From a stop to the terminal record of a run whose provider's connection was not seen to end. */
  stopMs: 1_000,
  /** From the last part of a body to its breaking off, as some runtimes would drop what they have not written yet. */
  flushMs: 20,
  /** How often what is due is looked for. */
  sweepMs: 5_000,
  /** How often a drain looks whether all is done. */
  drainPollMs: 20,
  /** Runs that are remembered after they were dropped: by a home, to tell their owner; by a session, never to ask again. */
  formerRuns: 10_000,
  /** Heartbeats without a message after which a `trunkline.v1` client is gone. */
  missedHeartbeats: 3,
  /** Wait for a provider's headers where the client names no time-out. */
  firstByteMs: 600_000,
  /** Workers may tell of a body that failed before they tell that this was since its client has left. */
  noticeMs: 20,
  /** Silence of a provider inside a body that goes to a socket. */
  silenceMs: 600_000,
  /** `Retry-After` of a provider is honoured up to this. */
  retryAfterMs: 5_000,
  /** A client's or provider's frame buffer beyond which sending waits. */
  socketBufferBytes: 8_388_608,
  /** The same for each side of a relay: beyond it the other side is not read, where the runtime allows that. */
  relayBufferBytes: 1_048_576,
  /** The same for pings: beyond it only the last one is answered. */
  pongBufferBytes: 65_536,
  /** Frames of one side of a relay that came all the same; beyond it both sides are closed. */
  relayHeldBytes: 16_777_216,
  /** How long one side of a relay may take nothing before both are closed. */
  relayStallMs: 25_000,
  /** How often it is looked whether it has taken anything. */
  relayLookMs: 1_000,
  /** How often it is looked whether a full buffer has room again. */
  socketPollMs: 10,
  /** From dialling a provider's socket to its answer, where the client names no time-out. */
  dialMs: 10_000,
  /** From a granted upgrade to the client's socket. */
  openMs: 10_000,
  /** Between two looks whether the token of a relayed session still holds. */
  tokenCheckMs: 30_000,
  /** What is wished of a session token. */
  mintBytes: 65_536,
  /** Of the body with which a provider refuses a socket. */
  refusalBytes: 65_536,
} as const

/** Limits of sessions and runs, as an operator may set them (PROTOCOL.md, "Limits and closing"). */
export interface SessionLimits {
  /** Requests that run at once in one session. */
  readonly inFlight: number
  /** Requests that wait for a place in one session. */
  readonly queued: number
  /** Bytes sent ahead of a run's last ack, and bytes a reader may lag behind its provider. */
  readonly windowBytes: number
  /** Bytes kept of a run. */
  readonly runBytes: number
  /** Bytes kept of all runs together; over it the oldest that are over are dropped, and others lose their beginnings. */
  readonly heldBytes: number
  /** How long a run or a session without a connection, and a finished run, are kept. */
  readonly detachSeconds: number
  /** A client that has nothing to say pings this often. */
  readonly heartbeatSeconds: number
  /** Sessions at once, of either wire. */
  readonly sessions: number
  /** From the wish to stop to the end of what has not finished by then. */
  readonly drainSeconds: number
}

/** What holds where the configuration is silent. */
export const sessionDefaults: SessionLimits = {
  inFlight: 64,
  queued: 256,
  windowBytes: 262_144,
  runBytes: 8_388_608,
  heldBytes: 268_435_456,
  detachSeconds: 330,
  heartbeatSeconds: 30,
  sessions: 10_000,
  drainSeconds: 20,
}

const count = (name: keyof SessionLimits, min = 1) =>
  z._default(z.int().check(z.minimum(min)), sessionDefaults[name])

/** As they are configured. */
export const sessionLimits: z.ZodMiniType<SessionLimits> = z.strictObject({
  inFlight: count('inFlight'),
  queued: count('queued', 0),
  windowBytes: count('windowBytes'),
  runBytes: count('runBytes'),
  heldBytes: count('heldBytes'),
  detachSeconds: count('detachSeconds'),
  heartbeatSeconds: count('heartbeatSeconds'),
  sessions: count('sessions'),
  drainSeconds: count('drainSeconds', 0),
})
