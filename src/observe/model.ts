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
export function modelOf(url: URL, body: string | null): string {
  const { pathname, search } = url
  const path = pathname.replaceAll('%40', '@').replaceAll('%2F', '/').replaceAll('%3A', ':')
  for (const pattern of inPath) {
    const found = pattern.exec(path)?.[1]
    if (found) return found
  }
  for (const name of search === '' ? [] : inQuery) {
    const found = url.searchParams.get(name)
    if (found) return found
  }
  return inBody.exec(body ?? '')?.[1] ?? ''
}

/** Every model that a decoded path or a query names, however many. */
export function modelsInUrl(path: string, query: URLSearchParams): string[] {
  const inSegments = inPath.flatMap((pattern) =>
    [...path.matchAll(new RegExp(pattern, 'g'))].map(([, name]) => name ?? ''),
  )
  return [...inSegments, ...inQuery.flatMap((name) => query.getAll(name))]
}

/** A string of JSON, and the colon that makes it the name of a member. */
const strings = /"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:\s*)?/g
/** Members that name a model; OpenRouter's `models` lists more. */
const named = new Set(['model', 'model_id', 'modelId', 'models'])

/**
 * Every model that a JSON text names, at any depth, as often as it does and in whatever spelling: what a parser takes
 * for the model is among them. Undefined for what is no JSON.
 */
export function modelsInText(text: string): string[] | undefined {
  if (!isJson(text)) return undefined
  const found: string[] = []
  /** Where the last string ended; and lists that are open since a member that names models, below 0 for none. */
  let [at, depth] = [0, -1]
  for (const { 0: whole, 1: raw = '', 2: colon, index } of text.matchAll(strings)) {
    for (const char of text.slice(at, index).replace(/[^[\]]/g, '')) depth = nest(depth, char)
    const isFirst = depth === 0 && index === at
    const value = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw
    at = index + whole.length
    if (colon !== undefined && depth <= 0) depth = named.has(value) ? 0 : -1
    if (colon === undefined && (isFirst || depth > 0)) found.push(value.replace(/^models\//, ''))
  }
  return found
}

/** A list that is no value of such a member has no depth, and one that has ended has none any more. */
function nest(depth: number, bracket: string): number {
  if (depth < 0) return depth
  const next = depth + (bracket === '[' ? 1 : -1)
  return next === 0 ? -1 : next
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
