import process from 'node:process'
import { GatewayError } from '../src/errors.ts'
import { ConfigError, createGateway, type Gateway, isOpen, parseConfig } from '../src/index.ts'
import { createHandler, outbound } from './deno.ts'
import { readEnvConfig } from './options.ts'
import { parts } from './parts.ts'
import { refuseAll } from './refuse.ts'
import { report } from './server.ts'

/** The members of Deno that are used here. */
declare const Deno: {
  serve(handler: (request: Request, info: object) => Promise<Response>): { shutdown(): Promise<void> }
}

/** The whole configuration comes from TRUNKLINE_CONFIG and TRUNKLINE_TOKEN: there is no lasting disk here. */
function fromEnv(): { handler: (request: Request, info: object) => Promise<Response>; gateway?: Gateway } {
  try {
    const config = parseConfig(readEnvConfig(process.env), process.env)
    if (isOpen(config)) return { handler: refuseAll(new GatewayError('not_configured')) }
    const gateway = createGateway(config, { fetch: outbound, report }, { ...parts, env: process.env })
    return { handler: createHandler(gateway), gateway }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    report('configuration', error.message)
    const reason = 'The configuration cannot be used; the log says why'
    return { handler: refuseAll(new GatewayError('not_configured', reason)) }
  }
}

const { handler, gateway } = fromEnv()
const server = Deno.serve(handler)
process.once('SIGINT', () => void stop())

/** Drained first, as a shutdown closes every socket at once. */
async function stop(): Promise<void> {
  await gateway?.drain()
  await server.shutdown()
}
