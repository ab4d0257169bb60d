import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort, launch, type RuntimeName, runtimes, type Started, startGateway } from '../launch.ts'

/** What one relay does with frames of 200 bytes, 64 sessions with 16 under way in each. */
export interface RelayFigures {
  readonly framesPerSecond: number
  /** Of the relay's process, for a frame that goes to the provider and comes back. */
  readonly cpuMicroseconds: number
}

/** A relay of some twenty lines, and the gateway, on one runtime. */
export interface RelayRow {
  readonly runtime: RuntimeName
  readonly bare: RelayFigures
  readonly gateway: RelayFigures
  /** Frames per second of the gateway to those of the bare relay. */
  readonly ratio: number
}

const sessions = 64
const underWay = 16
const frame: string = JSON.stringify({ type: 'input_audio_buffer.append', audio: 'A'.repeat(146) })
const warmMs = 1_000
const measuredMs = 4_000
const rounds = 3
/** Of the bare relay's frames per second. */
const goal = 0.7
/** Of /proc: 100 to the second on every Linux. */
const ticksPerSecond = 100
const self = fileURLToPath(import.meta.url)

/**
 * Compare the relay of a gateway, with its authentication, limits and records, with a bare one of the same runtime.
 * Rounds of the two follow one another; the best of each counts. Linux only, as it reads /proc.
 */
export async function benchRelay(runtime: RuntimeName): Promise<RelayRow> {
  const port = await freePort()
  const echo = await launch(`bun ${self} echo ${port}`, `http://127.0.0.1:${port}`, '/', {})
  const providers = { openai: { base_url: echo.url } }
  const gateway = await startGateway(runtime, { providers })
  const bare = await startBare(runtime, echo.url)
  try {
    const figures: { bare: RelayFigures[]; gateway: RelayFigures[] } = { bare: [], gateway: [] }
    for (let round = 0; round < rounds; round += 1) {
      figures.bare.push(await measure(bare, '/realtime'))
      figures.gateway.push(await measure(gateway, '/v1/default/default/openai?model=m'))
    }
    const [one, other] = [best(figures.bare), best(figures.gateway)]
    return { runtime, bare: one, gateway: other, ratio: other.framesPerSecond / one.framesPerSecond }
  } finally {
    await Promise.all([gateway.stop(), bare.stop()])
    await echo.stop()
  }
}

const best = (all: readonly RelayFigures[]): RelayFigures =>
  all.reduce((one, other) => (other.framesPerSecond > one.framesPerSecond ? other : one))

async function measure(relay: Started, path: string): Promise<RelayFigures> {
  const port = await freePort()
  const url = `${relay.url.replace('http', 'ws')}${path}`
  const load = await launch(`bun ${self} load ${port} '${url}'`, `http://127.0.0.1:${port}`, '/', {})
  const count = async (): Promise<number> => Number(await (await fetch(load.url)).text())
  await sleep(warmMs)
  const [frames, ticks, began] = [await count(), ticksOf(relay.pid), performance.now()]
  await sleep(measuredMs)
  const done = (await count()) - frames
  const seconds = (performance.now() - began) / 1_000
  const cpuSeconds = (ticksOf(relay.pid) - ticks) / ticksPerSecond
  await load.stop()
  return { framesPerSecond: Math.round(done / seconds), cpuMicroseconds: (cpuSeconds / done) * 1e6 }
}

/** Processor time of a process and of its children, which workerd is. */
function ticksOf(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  const own = Number(fields[11]) + Number(fields[12])
  return children.reduce((sum, child) => sum + ticksOf(Number(child)), own)
}

/** Deno runs its tasks in a process below the one that is started. */
async function startBare(runtime: RuntimeName, upstream: string): Promise<Started> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  if (runtime !== 'workers') {
    const run = { node: 'node', bun: 'bun', deno: 'deno run --quiet --allow-all --no-check' }[runtime]
    return launch(`${run} ${self} bare ${port} ${upstream}`, url, '/', {})
  }
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-bare-'))
  await writeFile(join(folder, 'worker.mjs'), bareWorker(upstream))
  await writeFile(join(folder, 'config.capnp'), bareConfig(port))
  const started = await launch(`workerd serve ${join(folder, 'config.capnp')}`, url, '/', {})
  const stop = async () => {
    const code = await started.stop()
    await rm(folder, { recursive: true, force: true })
    return code
  }
  return { ...started, stop }
}

const bareWorker = (upstream: string): string => `export default { async fetch(request) {
  if (request.headers.get('upgrade') !== 'websocket') return new Response('ok')
  const { webSocket: provider } = await fetch('${upstream}/realtime', { headers: { upgrade: 'websocket' } })
  const { 0: client, 1: server } = new WebSocketPair()
  for (const socket of [provider, server]) socket.binaryType = 'arraybuffer'
  provider.addEventListener('message', ({ data }) => server.send(data))
  server.addEventListener('message', ({ data }) => provider.send(data))
  provider.addEventListener('close', () => server.close())
  server.addEventListener('close', () => provider.close())
  provider.accept()
  server.accept()
  return new Response(null, { status: 101, webSocket: client })
} }`

const bareConfig = (port: number): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
      compatibilityDate = "2026-10-23", globalOutbound = "internet")),
    (name = "internet", network = (allow = ["private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);`

/** The members of Bun and Deno that are used here. */
interface BunSocket {
  data: { provider: WebSocket; early: (string | Uint8Array)[] }
  send(data: string | ArrayBuffer | Uint8Array): void
  close(): void
}
declare const Bun: {
  serve(options: {
    port: number
    hostname: string
    fetch(
      request: Request,
      server: { upgrade(request: Request, options: object): boolean },
    ): Response | undefined
    websocket: {
      open?(socket: BunSocket): void
      message(socket: BunSocket, data: string | Uint8Array): void
      close?(socket: BunSocket): void
    }
  }): void
}
declare const Deno: {
  serve(options: object, handler: (request: Request) => Response): void
  upgradeWebSocket(request: Request): { socket: WebSocket; response: Response }
}

const isUpgrade = (request: Request): boolean => request.headers.get('upgrade') === 'websocket'
type Data = string | Uint8Array<ArrayBuffer>

async function bareOnNode(port: number, provider: string): Promise<void> {
  const { createServer } = await import('node:http')
  const { WebSocket, WebSocketServer } = await import('ws')
  const server = createServer((_request, response) => response.end('ok')).listen(port, '127.0.0.1')
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  sockets.on('connection', (client) => {
    const other = new WebSocket(provider, { perMessageDeflate: false })
    const early: [data: Data, binary: boolean][] = []
    client.on('message', (data, binary) => {
      if (other.readyState === other.OPEN) other.send(data as Data, { binary })
      else early.push([data as Data, binary])
    })
    other.on('open', () => {
      for (const [data, binary] of early) other.send(data, { binary })
    })
    other.on('message', (data, binary) => client.send(data as Data, { binary }))
    client.on('close', () => other.close())
    other.on('close', () => client.close())
    other.on('error', () => client.close())
  })
}

function bareOnBun(port: number, url: string): void {
  Bun.serve({
    port,
    hostname: '127.0.0.1',
    fetch: (request, server) =>
      isUpgrade(request) && server.upgrade(request, { data: {} }) ? undefined : new Response('ok'),
    websocket: {
      open(client) {
        const provider = new WebSocket(url)
        provider.binaryType = 'arraybuffer'
        client.data = { provider, early: [] }
        provider.onopen = () => {
          for (const data of client.data.early) provider.send(data as Data)
        }
        provider.onmessage = ({ data }) => client.send(data as Data)
        provider.onclose = () => client.close()
      },
      message({ data: { provider, early } }, data) {
        if (provider.readyState === 1) provider.send(data as Data)
        else early.push(data)
      },
      close: ({ data: { provider } }) => provider.close(),
    },
  })
}

function bareOnDeno(port: number, url: string): void {
  Deno.serve({ port, hostname: '127.0.0.1', onListen: () => undefined }, (request) => {
    if (!isUpgrade(request)) return new Response('ok')
    const { socket: client, response } = Deno.upgradeWebSocket(request)
    const provider = new WebSocket(url)
    const early: Data[] = []
    for (const socket of [client, provider]) socket.binaryType = 'arraybuffer'
    client.onmessage = ({ data }) => {
      if (provider.readyState === 1) provider.send(data as Data)
      else early.push(data as Data)
    }
    provider.onopen = () => {
      for (const data of early) provider.send(data)
    }
    provider.onmessage = ({ data }) => client.send(data as Data)
    provider.onclose = () => client.close()
    client.onclose = () => provider.close()
    return response
  })
}

/** Returns what it is sent, as fast as can be. */
function serveEcho(port: number): void {
  Bun.serve({
    port,
    hostname: '127.0.0.1',
    fetch: (request, server) =>
      isUpgrade(request) && server.upgrade(request, {}) ? undefined : new Response('ok'),
    websocket: { message: (socket, data) => socket.send(data) },
  })
}

/** Keeps frames under way in every session, and tells how many have come back. */
function serveLoad(port: number, url: string): void {
  let count = 0
  for (let session = 0; session < sessions; session += 1) {
    const socket = new WebSocket(url)
    socket.onopen = () => {
      for (let index = 0; index < underWay; index += 1) socket.send(frame)
    }
    socket.onmessage = () => {
      count += 1
      socket.send(frame)
    }
  }
  const server = { port, hostname: '127.0.0.1', fetch: () => new Response(String(count)) }
  Bun.serve({ ...server, websocket: { message: () => undefined } })
}

const roles: Readonly<Record<string, (port: number, other: string) => void | Promise<void>>> = {
  echo: serveEcho,
  load: serveLoad,
  bare(port, upstream) {
    const url = `${upstream.replace('http', 'ws')}/realtime`
    if ('Bun' in globalThis) return bareOnBun(port, url)
    return 'Deno' in globalThis ? bareOnDeno(port, url) : bareOnNode(port, url)
  },
}

const describe = ({ framesPerSecond, cpuMicroseconds }: RelayFigures): string =>
  `${framesPerSecond.toString().padStart(6)} frames/s, ${cpuMicroseconds.toFixed(1).padStart(5)} µs of CPU each`

/** `npm run bench:relay -- [runtime…]`. Exits with 1 where a relay costs too much. */
if (process.argv[1] === self) {
  const [role = '', port, other = ''] = process.argv.slice(2)
  if (role in roles) await roles[role]!(Number(port), other)
  else
    for (const name of runtimes.filter((one) => role === '' || process.argv.includes(one))) {
      const { bare, gateway, ratio } = await benchRelay(name)
      const isMet = ratio >= goal
      if (!isMet) process.exitCode = 1
      const figures = `bare ${describe(bare)}; gateway ${describe(gateway)}`
      console.log(`${isMet ? 'met   ' : 'missed'}  ${name.padEnd(7)}  ${figures}; ${ratio.toFixed(2)}`)
    }
}
