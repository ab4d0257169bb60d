/** In the path: Gemini and Vertex, Workers AI, Azure's deployments, Bedrock, ElevenLabs' and Replicate's predictions. */
const inPath = [
  /\/models\/([^/:]+)(?::|$)/,
  /\/run\/(@[^/]+\/[^/]+\/[^/]+)$/,
  /\/deployments\/([^/]+)\//,
  /\/model\/(.+)\/(?:converse|invoke)/,
]
/** In the query: realtime endpoints, and Deepgram's. */
const inQuery = ['model', 'deployment', 'model_id']
/** A member of the outermost object comes before any that is nested, in the bodies of every dialect's SDK. */
const inBody = /"model"\s*:\s*"((?:[^"\\]|\\.){1,256})"/

/**
 * The model of a request, as its client names it; empty where it does not. Bodies are searched, not parsed: quotes
 * inside their texts are escaped, so no text passes for a name.
 */
export function modelOf({ pathname, searchParams }: URL, body: string | null): string {
  const path = pathname.replaceAll('%40', '@').replaceAll('%2F', '/').replaceAll('%3A', ':')
  for (const pattern of inPath) {
    const found = pattern.exec(path)?.[1]
    if (found) return found
  }
  for (const name of inQuery) {
    const found = searchParams.get(name)
    if (found) return found
  }
  return inBody.exec(body ?? '')?.[1] ?? ''
}
