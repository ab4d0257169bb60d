import type { Step } from '../types.ts'

const bytesPerToken = 4
/** What a picture or a file is taken for. */
const attachmentTokens = 1_000
/** A longer run of letters without a space is no text but base64. */
const attachment = /[A-Za-z0-9+/_=-]{1024,}/g
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
  for (const [run] of text.matchAll(attachment)) {
    chars -= run.length
    attachments += 1
  }
  return Math.ceil(chars / bytesPerToken) + attachments * attachmentTokens
}

/** The most tokens that a request lets its answer have; undefined where it does not say. */
export function outputLimit(text: string | null): number | undefined {
  const found = outputMax.exec(text ?? '')?.[1]
  return found === undefined ? undefined : Number(found)
}
