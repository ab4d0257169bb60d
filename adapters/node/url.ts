import type { IncomingMessage } from 'node:http'

const untidy = /[^\x21-\x7e]|[\\#"<>`{}|^]|\/\.|%2e/i
/** The last host that was found to be written as the web writes it; most requests name the same. */
let tidyHost = ''

/**
 * A request's URL as the web writes it; undefined for what is none, or names a user. Only what is not tidy already is
 * taken apart for it.
 */
export function urlOf({ url = '', headers }: IncomingMessage): string | undefined {
  const { host = 'localhost' } = headers
  if (/^https?:\/\//i.test(url)) return toHref(url)
  if (!url.startsWith('/') || !isHost(host)) return undefined
  const text = `http://${host}${url}`
  return isTidy(host) && !untidy.test(url) ? text : toHref(text)
}

/** It must not reach into other parts of the URL. */
const isHost = (host: string): boolean => !/[/?#@\\\s]/.test(host)

function isTidy(host: string): boolean {
  if (host === tidyHost) return true
  if (URL.parse(`http://${host}`)?.host !== host) return false
  tidyHost = host
  return true
}

/** The web's `Request` takes no URL with a user. */
function toHref(text: string): string | undefined {
  const url = URL.parse(text)
  return url && !url.username && !url.password ? url.href : undefined
}
