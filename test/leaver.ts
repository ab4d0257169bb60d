import process from 'node:process'
import { connect, type Item } from '../src/client/index.ts'

/**
 * `leaver.ts URL ITEM`: a client in a process of its own, to be killed. Prints the id of its run, and then each event's
 * bytes, a line of JSON each.
 */
const [url = '', item = ''] = process.argv.slice(2)
const line = await connect(url)
for await (const frame of line.stream({ ...(JSON.parse(item) as Item), raw: true })) {
  if (frame.type === 'universal.created') console.log(JSON.stringify(frame.metadata.runId))
  if (frame.type === 'universal.stream') console.log(JSON.stringify(frame.data))
}
