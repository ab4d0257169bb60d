import { v7 } from 'uuid'

/** Of one id. */
const randomBytes = 16
/** Random bytes are asked for so many ids at once, as asking costs more than the bytes. */
const pooled = 256
const pool = new Uint8Array(randomBytes * pooled)
/** Ids of one millisecond count up from here on, so that there is room for two billion more. */
const seqMask = 0x7f_ff_ff_ff
let taken = pooled
let lastMs = 0
let seq = 0

/** A new UUIDv7 (RFC 9562): sorts by time, as every id of the gateway does, and within a process by order too. */
export function newId(): string {
  if (taken === pooled) {
    crypto.getRandomValues(pool)
    taken = 0
  }
  const random = pool.subarray(taken * randomBytes, (taken + 1) * randomBytes)
  taken += 1
  const now = Date.now()
  if (now > lastMs) {
    lastMs = now
    seq = new DataView(random.buffer, random.byteOffset).getUint32(6) & seqMask
  } else {
    seq += 1
  }
  return v7({ random, msecs: lastMs, seq })
}
