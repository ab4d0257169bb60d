import type { Step } from '../types.ts'

const bytesPerToken = 4
/** What a picture or a file is taken for. */
const attachmentTokens = 1_000
/** A longer run of letters without a space is no text but base64. */
const attachmentChars = 1_024
/** More than any model writes; a request may say anything. */
const outputTokensMax = 2_000_000
/** The most tokens that may be written, in the words of every dialect. */
const outputMax =
  /"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens|maxTokens|max_new_tokens|max_gen_len|maxTokenCount|num_predict)"\s*:\s*(\d+)/

/** A body that is held, as text; null for one that streams through, or that is none. */
export function textOf({ body }: Pick<Step, 'body'>): string | null {
  if (body === null || body instanceof ReadableStream) return null
  return typeof body === 'string' ? body : new TextDecoder().decode(body)
}

/** Tokens of a request by its size: four bytes each, and something for each file in it. */
export function estimateInput(step: Pick<Step, 'body' | 'headers'>): number {
  const text = textOf(step)
  if (text === null) {
    const length = step.body === null ? 0 : Number(step.headers.get('content-length') ?? 0)
    return Math.ceil(length / bytesPerToken)
  }
  let chars = text.length
  let attachments = 0
  // A run that is long enough lies across one of these places, so that most of the text is not looked at.
  for (let at = 0; at < text.length; at += attachmentChars) {
    let [start, end] = [at, at]
    while (start > 0 && isBase64(text.charCodeAt(start - 1))) start -= 1
    while (end < text.length && isBase64(text.charCodeAt(end))) end += 1
    if (end - start < attachmentChars) continue
    chars -= end - start
    attachments += 1
    at = end - (end % attachmentChars)
  }
  return Math.ceil(chars / bytesPerToken) + attachments * attachmentTokens
}

const isBase64 = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) ||
  (code >= 0x41 && code <= 0x5a) ||
  (code >= 0x2b && code <= 0x39) ||
  code === 0x5f ||
  code === 0x3d

/** The most tokens that a request lets its answer have; undefined where it does not say. */
export function outputLimit(text: string | null): number | undefined {
  const found = outputMax.exec(text ?? '')?.[1]
  return found === undefined ? undefined : Math.min(Number(found), outputTokensMax)
}
