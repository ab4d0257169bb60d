import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Hooks } from 'crossws'
import { urlOf } from './node/url.ts'

/** How a socket is watched. */
interface Watched {
  readonly signal: AbortSignal
  /** Leave what comes to whoever reads now; its end is still told. */
  readonly unread: () => void
  readonly release: () => void
}
const watched = new WeakMap<object, Watched>()

/**
 * An upgrade as a request whose signal tells that its client has left, which that of crossws does not; undefined for one
 * that has no URL.
 */
export function toRequest(message: IncomingMessage, socket: Duplex): Request | undefined {
  const url = urlOf(message)
  if (url === undefined) return undefined
  const own = new Headers()
  for (const [name, value] of Object.entries(message.headers))
    for (const one of [value ?? []].flat()) own.append(name, one)
  const one = watch(socket)
  const request = new Request(url, { headers: own, signal: one.signal })
  watched.set(request, one)
  return request
}

/** Hooks that stop reading a request's socket once it is decided upon, and let go of it once it is open. */
export function releasing(hooks: Partial<Hooks>): Partial<Hooks> {
  return {
    ...hooks,
    async upgrade(request) {
      const granted = await hooks.upgrade?.(request)
      watched.get(request)?.unread()
      return granted
    },
    open(peer) {
      watched.get(peer.request)?.release()
      return hooks.open?.(peer)
    },
  }
}

/** A socket that nobody reads does not tell of its end, so it is looked at, and what a client sends early is left in it. */
function watch(socket: Duplex): Watched {
  const left = new AbortController()
  const leave = (): void => left.abort()
  const look = (): void => {
    if (socket.readableLength === 0) socket.read()
  }
  socket.on('readable', look).once('end', leave).once('close', leave)
  const unread = (): void => void socket.off('readable', look)
  const release = (): void => void socket.off('end', leave).off('close', leave)
  return { signal: left.signal, unread, release }
}
