import { chat, connect, type GatewayFrame, type Line, type LineOptions, post, upstream } from '../client.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'

const v1 = { protocols: ['trunkline.v1'] }

/** An item for the emulator's OpenAI wire; a stream unless told. */
export const item = (control: Control, more: object = {}, query: object = { stream: true }): object => ({
  provider: 'openai',
  endpoint: 'chat/completions',
  headers: upstream(control),
  query: chat('héllo wörld', query),
  ...more,
})

/** What the emulator itself answers, byte for byte. */
export async function truth(target: Target, control: Control): Promise<string> {
  const { key: _, ...same } = control
  const url = `${target.upstream}/openai/chat/completions`
  return (await post(url, chat('héllo wörld', { stream: true }), upstream(same))).text()
}

/** The events among frames. */
export const streamed = (frames: readonly GatewayFrame[]): GatewayFrame[] =>
  frames.filter((frame) => frame.type === 'universal.stream')

/** The bytes of raw frames, as text. */
export const textOf = (frames: readonly GatewayFrame[]): string =>
  Buffer.concat(
    streamed(frames).map(({ data, encoding }) => Buffer.from(data ?? '', encoding ?? 'utf8')),
  ).toString()

const isReady = (frame: GatewayFrame): boolean => frame.type === 'session.ready'
/** Whether it is an event. */
export const isStream = (frame: GatewayFrame): boolean => frame.type === 'universal.stream'

/** Connect and read `session.ready`. */
export async function open(
  target: Target,
  options: LineOptions = {},
): Promise<Line & { readonly id: string }> {
  const line = await connect(target, { ...v1, ...options })
  const ready = await line.next(isReady)
  return { ...line, id: ready.session?.id ?? '' }
}

/** Connect to a session that is there. */
export const again = (target: Target, id: string, options: LineOptions = {}): ReturnType<typeof open> =>
  open(target, { ...options, search: `?session=${id}` })
