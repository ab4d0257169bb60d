import { v7 } from 'uuid'

/** A new UUIDv7 (RFC 9562): sorts by time, as every id of the gateway does. */
export const newId = (): string => v7()
