import { spawn } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'
import { text } from 'node:stream/consumers'
import { expect, inject, test } from 'vitest'
import { flows } from './flows/flows.ts'
import { overCut, type Places } from './flows/run.ts'
import { root } from './launch.ts'
import { startProxy } from './proxy.ts'
import { startWorker } from './workerd.ts'

const cutMs = 150
const commands = {
  node: 'node',
  bun: 'bun',
  deno: 'deno run --quiet --allow-all --no-check',
} as const

/** Run the flows as a program; its report. */
async function runMain(command: string, { gateway, cut, upstream }: Places): Promise<unknown> {
  const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
  const child = spawn('sh', ['-c', `exec ${command} test/flows/main.ts ${gateway} ${cut} ${upstream}`], {
    cwd: root,
    env: { ...process.env, PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return JSON.parse(await text(child.stdout)) as unknown
}

/** Run the flows inside workerd; their report. */
async function runWorker(places: Places): Promise<unknown> {
  const worker = await startWorker('test/flows/worker.ts')
  const report = await (await fetch(`${worker.url}/run?${new URLSearchParams({ ...places })}`)).json()
  await worker.stop()
  return report
}

/** Which gateway is behind the client makes no difference here; the suites see to that. */
async function withPlaces(run: (places: Places) => Promise<unknown>): Promise<void> {
  const [target] = Object.values(inject('targets'))
  const proxy = await startProxy(Number(new URL(target!.url).port))
  const timer = setInterval(() => proxy.cut(), cutMs)
  const path = '/v1/default/default'
  const cut = `ws://127.0.0.1:${proxy.port}${path}`
  const report = await run({ gateway: target!.ws + path, cut, upstream: target!.upstream })
  clearInterval(timer)
  const { total } = proxy
  await proxy.close()
  expect(report).toEqual({ ran: [...flows.map(({ name }) => name), overCut], failures: {} })
  expect(total).toBeGreaterThan(2)
}

test.each(['openai', 'anthropic', 'google', 'ai'])(
  'the flows of %s: chat, streams, tools, aborts, errors',
  (sdk) => {
    const names = flows.map(({ name }) => name).filter((name) => name.startsWith(`${sdk}: `))
    for (const kind of [/chat|messages|generate/i, /stream/i, /tool|function/, /abort/, /error/])
      expect(
        names.some((name) => kind.test(name)),
        `${kind}`,
      ).toBe(true)
  },
)

for (const [name, command] of Object.entries(commands)) {
  test(
    `the client in ${name}: every SDK's flows, and streams over a line that is cut`,
    {
      timeout: 60_000,
    },
    () => withPlaces((places) => runMain(command, places)),
  )
}

test(
  "the client in workerd: every SDK's flows, and streams over a line that is cut",
  {
    timeout: 60_000,
  },
  () => withPlaces(runWorker),
)
