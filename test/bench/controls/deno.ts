/** The least a gateway on Deno can be. */
declare const Deno: {
  args: string[]
  serve(options: object, handler: (request: Request) => unknown): unknown
}

const [port, upstream = ''] = Deno.args
Deno.serve({ port: Number(port), hostname: '127.0.0.1', onListen: () => undefined }, (request) => {
  const { method, headers, body, signal } = request
  return fetch(upstream + new URL(request.url).pathname, { method, headers, body, signal })
})
