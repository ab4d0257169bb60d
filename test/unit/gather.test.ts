import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { createGather } from '../../adapters/gather.ts'

/** A socket, and the pieces that it was told to write, each a system call. */
function createSocket(): { socket: Writable; pieces: string[] } {
  const pieces: string[] = []
  const socket = new Writable({
    write(chunk, _encoding, done) {
      pieces.push(String(chunk))
      done()
    },
    writev(chunks, done) {
      pieces.push(chunks.map(({ chunk }) => String(chunk)).join(''))
      done()
    },
  })
  return { socket, pieces }
}

test('what is sent in one turn leaves in one piece, in order, before anything else happens', async () => {
  const { socket, pieces } = createSocket()
  const gather = createGather(socket)
  const send = (text: string): void => {
    gather()
    socket.write(text)
  }
  for (const text of ['a', 'b', 'c']) send(text)
  expect(pieces).toEqual([])
  await Promise.resolve()
  expect(pieces).toEqual(['abc'])
  send('d')
  await Promise.resolve()
  expect(pieces).toEqual(['abc', 'd'])
})

test('an end in the same turn comes behind it', async () => {
  const { socket, pieces } = createSocket()
  const gather = createGather(socket)
  gather()
  socket.write('a')
  socket.end('b')
  await Promise.resolve()
  expect(pieces.join('')).toBe('ab')
})

test('a socket that cannot is left alone', () => {
  expect(createGather(undefined)()).toBeUndefined()
  expect(createGather({} as Writable)()).toBeUndefined()
})
