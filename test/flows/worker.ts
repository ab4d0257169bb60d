import { runFlows } from './run.ts'

/** As a Worker: `GET /run?gateway=…&cut=…&upstream=…` answers with its report, as JSON; any other path, nothing. */
const worker: { fetch(request: Request): Promise<Response> } = {
  async fetch({ url }) {
    const { pathname, searchParams } = new URL(url)
    if (pathname !== '/run') return new Response()
    const { gateway = '', cut = '', upstream = '' } = Object.fromEntries(searchParams)
    return Response.json(await runFlows({ gateway, cut, upstream }))
  },
}
export default worker
