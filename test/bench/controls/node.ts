import { createServer } from 'node:http'
import process from 'node:process'
import { Pool } from 'undici'

/** The least a gateway on Node can be: `node:http` and undici. No limits, no records, nobody asked who he is. */
const pool = new Pool(process.argv[3] ?? '')
createServer((request, response) => {
  const { host: _, connection: __, ...headers } = request.headers
  const left = new AbortController()
  response.once('close', () => left.abort())
  const { method = 'GET', url: path = '/' } = request
  pool
    .stream(
      { path, method, headers, body: request, opaque: response, signal: left.signal },
      ({ statusCode, headers: own }) => response.writeHead(statusCode, own as Record<string, string>),
    )
    .catch(() => response.destroy())
}).listen(Number(process.argv[2]), '127.0.0.1')
