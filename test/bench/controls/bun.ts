/** The least a gateway on Bun can be. */
declare const Bun: { serve(options: object): unknown }

const [port, upstream = ''] = process.argv.slice(2)
Bun.serve({
  port: Number(port),
  hostname: '127.0.0.1',
  idleTimeout: 255,
  fetch(request: Request) {
    const { method, headers, body, signal } = request
    return fetch(upstream + new URL(request.url).pathname, { method, headers, body, signal })
  },
})
