import type { WebSocket } from 'ws'
import { limits } from '../src/limits.ts'
import { createRoom } from './server.ts'

/**
 * Answers the pings of a peer, which `ws` was told not to do: it would queue pongs without end for one that does not
 * read. Such a peer hears the answer to its last ping (RFC 6455, 5.5.3) once it has read what was sent before.
 */
export function answerPings(socket: Pick<WebSocket, 'on' | 'pong' | 'readyState' | 'bufferedAmount'>): void {
  const isOpen = (): boolean => socket.readyState === 1
  const waits = createRoom(limits.pongBufferBytes, () => socket.bufferedAmount, isOpen)
  let isWaiting = false
  let last: Buffer | undefined
  const answer = (data: Buffer): void => {
    socket.pong(data)
    const room = waits(data.length)
    if (!room) return
    isWaiting = true
    void room.then(() => {
      isWaiting = false
      const missed = last
      last = undefined
      if (missed && isOpen()) answer(missed)
    })
  }
  socket.on('ping', (data) => {
    if (isWaiting) last = data
    else answer(data)
  })
}
