import process from 'node:process'
import { parseArgs } from 'node:util'
import { startUpstream } from './server.ts'

/** The emulator as a process of its own. */
const { port } = parseArgs({ options: { port: { type: 'string', default: '0' } } }).values
const upstream = await startUpstream({ port: Number(port), name: 'emulator' })
console.log(`LISTENING ${upstream.port}`)
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0))
