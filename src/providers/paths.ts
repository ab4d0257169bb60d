import { GatewayError } from '../errors.ts'
import type { PathRule } from './table.ts'

/** Placeholders and what they stand for in one request. */
export type Variables = Readonly<Record<string, string>>

/** A path rule, split once. */
export interface CompiledRule {
  readonly from: readonly string[]
  readonly to: string
  readonly base_url: string
  readonly service: string | undefined
}

/** Prepare a row's rules; `base_url` serves those without their own. */
export function compileRules(
  rules: readonly PathRule[],
  base_url: string,
  isOverridden: boolean,
): readonly CompiledRule[] {
  return rules.map((rule) => ({
    from: rule.from.split('/'),
    to: rule.to,
    base_url: isOverridden ? base_url : (rule.base_url ?? base_url),
    service: rule.service,
  }))
}

/** What a path means: the first rule that fits it, with its placeholders filled. */
export function matchRule(
  rules: readonly CompiledRule[],
  path: string,
): { rule: CompiledRule; variables: Variables } | undefined {
  const segments = path.split('/')
  for (const rule of rules) {
    const variables = matchSegments(rule.from, segments)
    if (variables) return { rule, variables }
  }
  return undefined
}

function matchSegments(from: readonly string[], segments: readonly string[]): Variables | undefined {
  const variables: Record<string, string> = { rest: '' }
  for (const [index, part] of from.entries()) {
    if (part === '{rest}') return { ...variables, rest: segments.slice(index).join('/') }
    const segment = segments[index]
    if (!segment) return undefined
    if (part.startsWith('{')) variables[part.slice(1, -1)] = segment
    else if (part !== segment) return undefined
  }
  return segments.length === from.length ? variables : undefined
}

const hostLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

/**
 * Base, path and query as one URL that cannot have left the base.
 * @throws GatewayError bad_request
 */
export function toUrl(base: string, path: string, search: string, variables: Variables): URL {
  const slashes = base.indexOf('//') + 2
  const hostEnd = base.indexOf('/', slashes) < 0 ? base.length : base.indexOf('/', slashes)
  const host = fill(base.slice(slashes, hostEnd), variables, hostLabel)
  const prefix = base.slice(0, slashes) + host + fill(base.slice(hostEnd), variables).replace(/\/$/, '')
  const target = fill(path, variables)
  const whole = target === '' ? prefix : `${prefix}/${target}`
  const url = URL.parse(whole + search)
  // The checks above make this so; should one have a hole, nothing leaves all the same.
  if (!url?.href.startsWith(`${URL.parse(prefix)?.href.replace(/\/$/, '')}`))
    throw new GatewayError('bad_request', 'endpoint: not a legal path')
  return url
}

function fill(template: string, variables: Variables, shape?: RegExp): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined
    if (value === undefined)
      throw new GatewayError('bad_request', `This provider needs its ${name} set, or in the path`)
    if (shape && !shape.test(value))
      throw new GatewayError('bad_request', `endpoint: ${name} is not a legal host name part`)
    return value
  })
}

/**
 * Refuse a path that could mean another host or another folder than it seems to. One leading slash is forgiven.
 * @returns the path without it
 * @throws GatewayError bad_request
 */
export function checkPath(path: string, search: string): string {
  const bare = path.startsWith('/') ? path.slice(1) : path
  const refuse = (what: string) => new GatewayError('bad_request', `endpoint: ${what} is not allowed`)
  if (hasControl(bare + search) || /[ \\]/.test(bare) || /[ #]/.test(search))
    throw refuse('white space, a control character or a backslash')
  if (bare.startsWith('/') || /^[a-z][a-z0-9+.-]*:\/\//i.test(bare)) throw refuse('another host')
  if (/[?#{}]/.test(bare)) throw refuse('one of ? # { }')
  let decoded: string
  try {
    decoded = decodeURIComponent(bare)
  } catch {
    throw refuse('a malformed percent-encoding')
  }
  if (hasControl(decoded) || decoded.includes('\\')) throw refuse('an encoded control character or backslash')
  if (decoded.split('/').some((segment) => segment === '.' || segment === '..'))
    throw refuse('a . or .. segment')
  return bare
}

/** Whether a text holds a control character (C0 or DEL). */
function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
