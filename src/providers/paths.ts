import { GatewayError } from '../errors.ts'
import type { PathRule } from './row.ts'

/** Text with `{placeholders}`, split once: literal parts at even places, names at odd ones. */
type Template = readonly string[]
type Variables = ReadonlyMap<string, string>

interface Base {
  /** With its slashes. */
  readonly scheme: string
  readonly host: Template
  /** Empty, or with its leading and without its trailing slash. */
  readonly path: Template
}

interface Rule {
  /** One per segment: what it must be, or the name of what it may be. */
  readonly from: readonly ({ readonly literal: string } | { readonly name: string })[]
  /** Whether `{rest}` takes what follows. */
  readonly isOpen: boolean
  readonly to: Template
  readonly base: Base
}

/** From what a client wrote behind a slug to the upstream URL. @throws GatewayError bad_request */
export type Resolve = (path: string, search: string) => URL

/** What makes a resolver: a row's addresses, with the settings of its provider. */
export interface Addresses {
  readonly base_url: string
  /** Whether `base_url` is the operator's: then it stands for those of the rules too. */
  readonly isOverridden: boolean
  readonly paths: readonly PathRule[]
  /** Placeholders that no path fills. */
  readonly settled: Variables
}

const unchanged: PathRule = { from: '{rest}', to: '{rest}' }
const hostLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i

/**
 * Prepare the path rules of one provider. The first that fits a path counts; a path that fits none goes on as it is.
 * @throws TypeError for a base URL that is none
 */
export function createResolve({ base_url, isOverridden, paths, settled }: Addresses): Resolve {
  const rules = [...paths, unchanged].map(
    (rule): Rule => toRule(rule, toBase(isOverridden ? base_url : (rule.base_url ?? base_url))),
  )
  return (path, search) => {
    const segments = checkPath(path).split('/')
    checkSearch(search)
    const rule = rules.find((candidate) => fits(candidate, segments))!
    return toUrl(rule, new Map([...settled, ...variablesOf(rule, segments)]), search)
  }
}

const toTemplate = (text: string): Template => text.split(/\{(\w+)\}/)

function toBase(base_url: string): Base {
  const [, scheme, host, path = ''] = /^(https?:\/\/)([^/?#@\\\s]+)(\/[^?#\\\s]*)?$/i.exec(base_url) ?? []
  if (!scheme || !host) throw new TypeError('base_url: scheme, host and path are all it may have')
  return { scheme, host: toTemplate(host), path: toTemplate(path.replace(/\/+$/, '')) }
}

function toRule(rule: PathRule, base: Base): Rule {
  const parts = rule.from.split('/')
  const isOpen = parts.at(-1) === '{rest}'
  const from = (isOpen ? parts.slice(0, -1) : parts).map((part) =>
    part.startsWith('{') ? { name: part.slice(1, -1) } : { literal: part },
  )
  return { from, isOpen, to: toTemplate(rule.to), base }
}

function fits({ from, isOpen }: Rule, segments: readonly string[]): boolean {
  if (isOpen ? segments.length < from.length : segments.length !== from.length) return false
  return from.every((part, index) =>
    'literal' in part ? part.literal === segments[index] : segments[index] !== '',
  )
}

function variablesOf({ from }: Rule, segments: readonly string[]): [string, string][] {
  const named = from.flatMap((part, index): [string, string][] =>
    'name' in part ? [[part.name, segments[index]!]] : [],
  )
  return [...named, ['rest', segments.slice(from.length).join('/')]]
}

function toUrl({ base, to }: Rule, variables: Variables, search: string): URL {
  const prefix = base.scheme + fill(base.host, variables, hostLabel) + fill(base.path, variables)
  const filled = fill(to, variables)
  const target = variables.get('rest') === '' ? filled.replace(/\/$/, '') : filled
  const url = URL.parse((target === '' ? prefix : `${prefix}/${target}`) + search)
  const root = URL.parse(prefix)
  // The checks of the path make this so; should one of them have a hole, nothing leaves all the same.
  if (!url || !root || url.origin !== root.origin || !isBelow(url.pathname, root.pathname))
    throw new GatewayError('bad_request', 'The path does not make a legal URL')
  return url
}

function isBelow(path: string, root: string): boolean {
  const folder = root.endsWith('/') ? root : `${root}/`
  return path === root || path.startsWith(folder)
}

function fill(template: Template, variables: Variables, shape?: RegExp): string {
  if (template.length === 1) return template[0]!
  const parts = template.map((part, index) => {
    if (index % 2 === 0) return part
    const value = variables.get(part)
    if (value === undefined) throw new GatewayError('bad_request', `This provider needs its ${part}`)
    if (shape && !shape.test(value))
      throw new GatewayError('bad_request', `The path's ${part} cannot be a part of a host name`)
    return value
  })
  return parts.join('')
}

const refusal = (what: string): GatewayError =>
  new GatewayError('bad_request', `The path must not hold ${what}`)

/** Refuse what could mean another host or another folder than it seems to. One leading slash is forgiven. */
function checkPath(path: string): string {
  const bare = path.startsWith('/') ? path.slice(1) : path
  if (hasControl(bare) || /[ \\]/.test(bare)) throw refusal('white space, control characters or backslashes')
  if (bare.startsWith('/') || /^[a-z][a-z0-9+.-]*:\/\//i.test(bare)) throw refusal('another host')
  if (/[?#]/.test(bare)) throw refusal('? or #')
  const decoded = bare.includes('%') ? decode(bare) : bare
  if (hasControl(decoded) || decoded.includes('\\'))
    throw refusal('encoded control characters or backslashes')
  if (decoded.split('/').some((segment) => segment === '.' || segment === '..'))
    throw refusal('. or .. as a segment')
  return bare
}

function checkSearch(search: string): void {
  if (search !== '' && (!search.startsWith('?') || search.includes('#') || hasControl(search)))
    throw new GatewayError('bad_request', 'The query must not hold # or control characters')
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw refusal('malformed percent-encoding')
  }
}

/** Whether a text holds a control character (C0 or DEL). */
function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
