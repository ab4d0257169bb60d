/** What Node's sockets can beside the standard, and those that stand in for them. */
export interface Corkable {
  cork(): void
  uncork(): void
}

/**
 * What is sent in one turn leaves in one piece: of a small frame, the system call is most of what it costs.
 * To be called before each is sent.
 */
export function createGather(socket: Corkable | undefined): () => void {
  if (!socket?.cork) return () => undefined
  let isGathering = false
  const release = (): void => {
    isGathering = false
    socket.uncork()
  }
  return () => {
    if (isGathering) return
    isGathering = true
    socket.cork()
    queueMicrotask(release)
  }
}
