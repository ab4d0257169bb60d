import type { Step } from '../types.ts'

/** What stands in the place of a secret. */
const mark = '[redacted]'
/** Members of JSON objects, and parameters, whose values are secrets. */
const named =
  /("|\\")([\w-]*(?:api[_-]?key|secret|password|passwd|access[_-]?token|auth[_-]?token|authorization|private[_-]?key|credentials?)[\w-]*)\1(\s*:\s*)\1((?:[^"\\]|\\[^"])*)\1/gi
/**
 * Keys by their shape: OpenAI's and Anthropic's, AWS's, Google's, GitHub's, Slack's, Groq's and xAI's, Hugging Face's,
 * JWTs, and whatever stands behind `Bearer`.
 */
const shaped =
  /\b(?:sk-[\w-]{16,}|AKIA[A-Z0-9]{16}|AIza[\w-]{30,}|gh[pousr]_\w{20,}|xox[abprs]-[\w-]{10,}|(?:gsk|xai|hf|pplx|r8)[_-]\w{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?<=Bearer )[\w.~+/-]{8,}=*)/g
/** Headers that carry a provider's key. */
const secretHeader = /key|token|secret|authorization|credential/i
/** A value that is shorter may be a word of the text. */
const secretChars = 6

/** Secrets that a step takes to its provider: in headers, without their scheme, and in its query. */
export function secretsIn({ headers, url }: Step): string[] {
  const own = [...headers].filter(([name]) => secretHeader.test(name)).map(([, value]) => value)
  const asked = [...url.searchParams].filter(([name]) => secretHeader.test(name)).map(([, value]) => value)
  return [...own, ...asked].map((value) => value.replace(/^(Bearer|Basic|Token|Key)\s+/i, ''))
}

/** Takes known secrets out of a text, and what looks like one, by name or shape. */
export function createRedact(secrets: readonly string[]): (text: string) => string {
  const known = [...new Set(secrets)].filter((secret) => secret.length >= secretChars)
  return (text) => {
    let clean = text
    for (const secret of known) clean = clean.replaceAll(secret, mark)
    return clean.replace(named, `$1$2$1$3$1${mark}$1`).replace(shaped, mark)
  }
}
