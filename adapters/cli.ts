#!/usr/bin/env node
import { launch } from './launch.ts'

/** The bin, and the start file of Node, Bun and Deno: each runs it and gets its own adapter. */
const runtime = 'Deno' in globalThis ? 'deno' : 'Bun' in globalThis ? 'bun' : 'node'
const adapters = {
  node: () => import('./node.ts'),
  bun: () => import('./bun.ts'),
  deno: () => import('./deno.ts'),
}
const env = (await import('node:process')).default.env

await launch(runtime, async (config, { port, host, data }) =>
  (await adapters[runtime]()).serve(config, { port, host, env, data }),
)
