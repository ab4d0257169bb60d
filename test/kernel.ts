import { readFileSync } from 'node:fs'

const isEstablished = '01'
const portOf = (address: string): number => Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16)

/** Bytes of a connection of this machine, by the ports of its ends, that Linux holds for either of them. */
export function kernelBytes(one: number, other: number): number {
  const rows = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/net/${file}`, 'latin1').split('\n'))
  let bytes = 0
  for (const row of rows) {
    const [, local = '', remote = '', state, queues = ''] = row.trim().split(/\s+/)
    if (state !== isEstablished) continue
    const ports = [portOf(local), portOf(remote)]
    if (!ports.includes(one) || !ports.includes(other)) continue
    for (const queue of queues.split(':')) bytes += Number.parseInt(queue, 16)
  }
  return bytes
}
