import { sha256 } from '../hash.ts'
import { newId } from '../ids.ts'
import type { ClientRequest } from './messages.ts'

/**
 * SHA-256 of a request, in hex, without where to read from, which differs when it is sent again. One that is nested
 * too deeply to be written equals none. Never rejects.
 */
export async function digestOf(request: ClientRequest): Promise<string> {
  try {
    const text = JSON.stringify(Array.isArray(request) ? request.map(withoutFrom) : withoutFrom(request))
    return await sha256(text)
  } catch {
    return newId()
  }
}

const withoutFrom = (item: unknown): unknown =>
  typeof item === 'object' && item !== null ? { ...item, from: undefined } : item
