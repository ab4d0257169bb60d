import { WebSocket } from 'ws'

/** The heap of a process of Node that was started with `--inspect`. */
export interface Heap {
  /** Bytes in use once all garbage is gone. */
  used(): Promise<number>
  close(): void
}

/** Ask a process by its inspector's port. */
export async function openHeap(port: number): Promise<Heap> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as [
    { webSocketDebuggerUrl: string },
  ]
  const socket = new WebSocket(targets[0].webSocketDebuggerUrl, { perMessageDeflate: false })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', () => resolve())
    socket.once('error', reject)
  })
  const waiting = new Map<number, (result: unknown) => void>()
  socket.on('message', (data: Buffer) => {
    const { id, result } = JSON.parse(data.toString()) as { id?: number; result: unknown }
    if (id === undefined) return
    waiting.get(id)?.(result)
    waiting.delete(id)
  })
  let number = 0
  const call = (method: string): Promise<unknown> =>
    new Promise((resolve) => {
      number += 1
      waiting.set(number, resolve)
      socket.send(JSON.stringify({ id: number, method }))
    })
  return {
    async used() {
      await call('HeapProfiler.collectGarbage')
      await call('HeapProfiler.collectGarbage') // what the first one has only marked
      return ((await call('Runtime.getHeapUsage')) as { usedSize: number }).usedSize
    },
    close: () => socket.close(),
  }
}
