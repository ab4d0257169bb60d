import process from 'node:process'
import { runFlows } from './run.ts'

/** `flows/main.ts GATEWAY CUT UPSTREAM`: prints its report as JSON. It ends by itself, as nothing is left open. */
const [gateway = '', cut = '', upstream = ''] = process.argv.slice(2)
console.log(JSON.stringify(await runFlows({ gateway, cut, upstream })))
