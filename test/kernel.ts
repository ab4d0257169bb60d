import { readFileSync } from 'node:fs'

const isEstablished = '01'
const portOf = (address: string): number => Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16)

/** The kernel writes its table piece by piece: a row can be missed while others come and go. */
const readsMax = 20

/**
 * Bytes of a connection of this machine, by the ports of its ends, that Linux holds for either of them.
 *
 * @throws Error where the connection's two rows are not found.
 */
export function kernelBytes(one: number, other: number): number {
  for (let read = 0; read < readsMax; read += 1) {
    const queues = queuesOf(one, other)
    if (queues.length === 2)
      return queues
        .join(':')
        .split(':')
        .reduce((sum, queue) => sum + Number.parseInt(queue, 16), 0)
  }
  throw new Error(`no connection between ports ${one} and ${other}`)
}

/** What is sent and not confirmed, and what is received and not read, of each end: two hexadecimal numbers. */
function queuesOf(one: number, other: number): string[] {
  const rows = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/net/${file}`, 'latin1').split('\n'))
  return rows.flatMap((row) => {
    const [, local = '', remote = '', state, queues = ''] = row.trim().split(/\s+/)
    const ports = [portOf(local), portOf(remote)]
    return state === isEstablished && ports.includes(one) && ports.includes(other) ? [queues] : []
  })
}
