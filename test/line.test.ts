import { spawn } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'
import { text } from 'node:stream/consumers'
import { expect, inject, test } from 'vitest'
import { root } from './launch.ts'
import { startProxy } from './proxy.ts'

/** The client in each runtime that people run it in; which gateway is behind it makes no difference here. */
const commands = {
  node: 'node',
  bun: 'bun',
  deno: 'deno run --quiet --allow-all --no-check',
} as const
const cutMs = 150

for (const [name, command] of Object.entries(commands)) {
  test(`the client in ${name}: every SDK's flows, and streams over a line that is cut`, {
    timeout: 60_000,
  }, async () => {
    const [target] = Object.values(inject('targets'))
    const proxy = await startProxy(Number(new URL(target!.url).port))
    const timer = setInterval(() => proxy.cut(), cutMs)
    const path = '/v1/default/default'
    const words = [`${target!.ws}${path}`, `ws://127.0.0.1:${proxy.port}${path}`, target!.upstream]
    const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
    const child = spawn('sh', ['-c', `exec ${command} test/flows-main.ts ${words.join(' ')}`], {
      cwd: root,
      env: { ...process.env, PATH },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const output = await text(child.stdout)
    clearInterval(timer)
    const { total } = proxy
    await proxy.close()
    expect(JSON.parse(output)).toEqual({})
    expect(total).toBeGreaterThan(2)
  })
}
