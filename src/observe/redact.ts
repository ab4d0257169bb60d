import type { Step } from '../types.ts'

/** What stands in the place of a secret. */
const mark = '[redacted]'
/**
 * Members of JSON objects whose values are secrets, from what tells so on; also of JSON inside of a text. The last value
 * may have lost its end. What repeats has a limit where it could be tried from every letter of a text.
 */
const named =
  /((?:api[_-]?key|secret|password|passwd|access[_-]?token|auth[_-]?token|authorization|private[_-]?key|credentials?)[\w-]{0,64})("|\\")(\s{0,8}:\s{0,8})\2((?:[^"\\]|\\[^"])*)(\2|\\?$)/gi
/**
 * Keys by their shape: OpenAI's and Anthropic's, AWS's, Google's, GitHub's, Slack's, Groq's and xAI's, Hugging Face's,
 * and JWTs.
 */
const shaped =
  /(?<![\w-])(?:sk-[\w-]{16,}|AKIA[A-Z0-9]{16}|AIza[\w-]{30,}|gh[pousr]_\w{20,}|xox[abprs]-[\w-]{10,}|(?:gsk|xai|hf|pplx|r8)[_-]\w{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)/g
/** Whatever stands behind this word. */
const bearer = 'Bearer '
const borne = /(?<=Bearer )[\w.~+/-]{8,}=*/g
/** Headers that carry a provider's key. */
const secretHeader = /key|token|secret|authorization|credential/i
/** A value that is shorter may be a word of the text. */
const secretChars = 6

/** Secrets that a step takes to its provider: in headers, without their scheme, and in its query. */
export function secretsIn({ headers, url }: Step): string[] {
  const own = [...headers].filter(([name]) => secretHeader.test(name)).map(([, value]) => value)
  const query = url.search === '' ? [] : [...url.searchParams]
  const asked = query.filter(([name]) => secretHeader.test(name)).map(([, value]) => value)
  return [...own, ...asked].map((value) => value.replace(/^(Bearer|Basic|Token|Key)\s+/i, ''))
}

/** Takes known secrets out of a text, and what looks like one, by name or shape. */
export function createRedact(secrets: readonly string[]): (text: string) => string {
  const known = [...new Set(secrets)].filter((secret) => secret.length >= secretChars)
  return (text) => {
    let clean = text
    for (const secret of known) clean = withoutEnd(clean.replaceAll(secret, mark), secret)
    clean = clean.replace(named, `$1$2$3$2${mark}$5`).replace(shaped, mark)
    return clean.includes(bearer) ? clean.replace(borne, mark) : clean
  }
}

/** Without the beginning of a secret, at which a text was cut. */
function withoutEnd(text: string, secret: string): string {
  for (let length = Math.min(secret.length - 1, text.length); length >= secretChars; length -= 1)
    if (text.endsWith(secret.slice(0, length))) return text.slice(0, -length) + mark
  return text
}
