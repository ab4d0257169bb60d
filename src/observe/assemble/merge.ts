import { isObject, type Json } from '../usage.ts'

/** An answer in the making. */
export type Draft = Record<string, unknown>

/** Members whose text is whole in each event; any other text is a piece. */
const whole = new Set([
  'id',
  'type',
  'role',
  'name',
  'object',
  'model',
  'finish_reason',
  'signature',
  'format',
])

/** Add the pieces of one event to what came before: texts are joined, and lists whose items are numbered by those. */
export function addDelta(draft: Draft, delta: Json): void {
  for (const [key, value] of Object.entries(delta)) {
    const known = draft[key]
    if (value === null || value === undefined) draft[key] ??= null
    else if (typeof value === 'string' && typeof known === 'string' && !whole.has(key))
      draft[key] = known + value
    else if (Array.isArray(value)) draft[key] = addItems(Array.isArray(known) ? known : [], value)
    else if (isObject(value) && isObject(known)) addDelta(known as Draft, value)
    else draft[key] = isObject(value) ? copy(value) : value
  }
}

function addItems(list: unknown[], items: readonly unknown[]): unknown[] {
  for (const item of items) {
    if (!isObject(item) || typeof item.index !== 'number') list.push(isObject(item) ? copy(item) : item)
    else {
      const { index, ...rest } = item
      addDelta(at(list, index as number), rest)
    }
  }
  return list
}

function copy(value: Json): Draft {
  const draft: Draft = {}
  addDelta(draft, value)
  return draft
}

/** Items of one answer; a number beyond is no number of an item. */
const itemsMax = 1_000

/** The item of a list with a number, made if it is not there. */
export function at(list: unknown[], index: number): Draft {
  const place = Number.isInteger(index) && index >= 0 && index < itemsMax ? index : list.length
  while (list.length <= place) list.push({})
  const known = list[place]
  if (isObject(known)) return known as Draft
  const made: Draft = {}
  list[place] = made
  return made
}

/** Append a piece to a text. */
export function addText(draft: Draft, key: string, piece: unknown): void {
  if (typeof piece === 'string') draft[key] = (typeof draft[key] === 'string' ? draft[key] : '') + piece
}

/** A list of an answer, made if it is not there. */
export function listOf(draft: Draft, key: string): unknown[] {
  const known = draft[key]
  if (Array.isArray(known)) return known
  const made: unknown[] = []
  draft[key] = made
  return made
}

/** The value of a JSON text, or the text where it was cut. */
export function parsed(text: unknown): unknown {
  if (typeof text !== 'string') return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The object at a member; empty where there is none. */
export const objectAt = (value: Json, key: string): Json => {
  const found = value[key]
  return isObject(found) ? found : {}
}
