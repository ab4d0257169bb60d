import { AwsV4Signer } from 'aws4fetch'
import * as z from 'zod/mini'
import { limits } from '../limits.ts'
import { readBytes } from '../streams.ts'
import { type Authorize, type Outgoing, readJsonKey } from './outgoing.ts'

/** The stored credential of contract 1.2; `region` counts where the host names none. */
const accessKey = z.object({
  accessKeyId: z.string().check(z.minLength(1)),
  secretAccessKey: z.string().check(z.minLength(1)),
  region: z.optional(z.string()),
  sessionToken: z.optional(z.string()),
})

/** Written by the signature; a client's have no meaning beside it. */
const signature = ['x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token']
/** One each per day, region and service; regions come from clients. */
const derivedKeysMax = 100

/**
 * AWS Signature Version 4. A stored key that is not JSON is a Bedrock API key.
 * A host whose first label is one of `services` is signed for that one, any other for the first.
 */
export function sigv4Auth(
  services: readonly [string, ...string[]],
  own: readonly string[],
  key: string | undefined,
): Authorize {
  const stored = readJsonKey(key, accessKey)
  const cache = new Map<string, ArrayBuffer>()
  return async (request, _fetch, signal) => {
    const { url, headers } = request
    if (key === undefined || own.some((name) => headers.has(name))) return asNative(request)
    if (!stored) {
      headers.set('authorization', `Bearer ${key}`)
      return asNative(request)
    }
    const body =
      request.body instanceof ReadableStream
        ? await readBytes(request.body, limits.bodyBytes, signal)
        : request.body
    const service = services.find((name) => url.hostname.startsWith(`${name}.`)) ?? services[0]
    for (const name of signature) headers.delete(name)
    if (cache.size >= derivedKeysMax) cache.clear()
    // Nothing is signed but what AWS wants signed: other headers may be rewritten on their way, which would break it.
    const signable = [...headers].filter(([name]) => name.startsWith('x-amz-'))
    const signer = new AwsV4Signer({
      ...stored,
      region: regionOf(url) ?? stored.region,
      service,
      method: request.method,
      url: url.href,
      headers: signable,
      body,
      cache,
    })
    for (const [name, value] of (await signer.sign()).headers) headers.set(name, value)
    return { headers, body }
  }
}

/** Where a client that names no region is served (contract 1.3). */
const regionDefault = 'us-east-1'

/** The stored key's region. */
export function sigv4Places(key: string | undefined): { region: string } {
  return { region: readJsonKey(key, accessKey)?.region ?? regionDefault }
}

/** Bedrock's Anthropic surface takes an API key as Anthropic does (contract 1.2, mantle). */
function asNative(request: Outgoing): Outgoing {
  const { headers, url } = request
  const bearer = /^Bearer\s+(\S+)$/i.exec(headers.get('authorization') ?? '')?.[1]
  if (bearer && url.pathname.includes('/anthropic/')) {
    headers.delete('authorization')
    headers.set('x-api-key', bearer)
  }
  return request
}

/** `bedrock-runtime.eu-west-1.amazonaws.com` → `eu-west-1`. */
const regionOf = (url: URL): string | undefined => /\.([a-z]{2,}(?:-[a-z]+)+-\d+)\./.exec(url.hostname)?.[1]
