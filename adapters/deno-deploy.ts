import process from 'node:process'
import { GatewayError } from '../src/errors.ts'
import { ConfigError, createGateway, isOpen, parseConfig } from '../src/index.ts'
import { createHandler, outbound } from './deno.ts'
import { readEnvConfig } from './options.ts'
import { refuseAll } from './refuse.ts'
import { report } from './server.ts'

/** The members of Deno that are used here. */
declare const Deno: {
  serve(handler: (request: Request, info: object) => Promise<Response>): { shutdown(): Promise<void> }
}

/** The whole configuration comes from TRUNKLINE_CONFIG and TRUNKLINE_TOKEN: there is no lasting disk here. */
function handlerFromEnv(): (request: Request, info: object) => Promise<Response> {
  try {
    const config = parseConfig(readEnvConfig(process.env), process.env)
    if (isOpen(config)) return refuseAll(new GatewayError('not_configured'))
    return createHandler(createGateway(config, { fetch: outbound, report }, process.env))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    report('configuration', error.message)
    return refuseAll(new GatewayError('not_configured', 'The configuration cannot be used; the log says why'))
  }
}

const server = Deno.serve(handlerFromEnv())
process.once('SIGINT', () => void server.shutdown())
