import { ConfigError, type Env } from '../config.ts'
import type { Sealed } from './config.ts'

const keyBytes = 32
/** Of AES-GCM (SP 800-38D, 8.2.2: random, so that one key is good for 2³² secrets). */
const ivBytes = 12
/** Hex digits of a key's hash that name it. */
const nameChars = 16

/** Seals secrets so that a store alone tells none. */
export interface Vault {
  /** Whether there is a master key to seal with. */
  readonly isOpen: boolean
  /** `place` is what the secret belongs to: sealed for one, it cannot be read as another's. */
  seal(text: string, place: string): Promise<Sealed>
  /** Rejects where the key is not here, or anything of it has been changed. */
  unseal(sealed: Sealed, place: string): Promise<string>
  /** Whether it is sealed with the newest key. */
  isNewest(sealed: Sealed): Promise<boolean>
}

interface Key {
  readonly kid: string
  readonly key: CryptoKey
}

/**
 * Master keys of the environment: TRUNKLINE_MASTER_KEY, 32 bytes in base64, seals; it and those of
 * TRUNKLINE_MASTER_KEYS_OLD, separated by commas, unseal.
 * @throws ConfigError for what is no such key
 */
export function createVault(env: Env): Vault {
  const newest = env.TRUNKLINE_MASTER_KEY ? [readKey('TRUNKLINE_MASTER_KEY', env.TRUNKLINE_MASTER_KEY)] : []
  const older = (env.TRUNKLINE_MASTER_KEYS_OLD ?? '').split(',').filter((text) => text.trim() !== '')
  const raw = [...newest, ...older.map((text) => readKey('TRUNKLINE_MASTER_KEYS_OLD', text))]
  // Imported at the first use, since Workers allow no asynchronous work at start.
  let keys: Promise<readonly Key[]> | undefined
  const all = () => (keys ??= Promise.all(raw.map(importKey)))
  const own = async (): Promise<Key> => {
    const [first] = newest.length > 0 ? await all() : []
    if (!first) throw new TypeError('TRUNKLINE_MASTER_KEY is not set')
    return first
  }
  return {
    isOpen: newest.length > 0,
    async seal(text, place) {
      const { kid, key } = await own()
      const iv = crypto.getRandomValues(new Uint8Array(ivBytes))
      const data = await crypto.subtle.encrypt(termsOf(iv, place), key, new TextEncoder().encode(text))
      return { kid, iv: toBase64(iv), data: toBase64(new Uint8Array(data)) }
    },
    async unseal({ kid, iv, data }, place) {
      const found = (await all()).find((one) => one.kid === kid)
      if (!found) throw new TypeError(`the master key ${kid} is not here`)
      const text = await crypto.subtle.decrypt(termsOf(fromBase64(iv), place), found.key, fromBase64(data))
      return new TextDecoder().decode(text)
    },
    isNewest: async ({ kid }) => kid === (await own()).kid,
  }
}

const termsOf = (iv: Uint8Array<ArrayBuffer>, place: string): AesGcmParams => ({
  name: 'AES-GCM',
  iv,
  additionalData: new TextEncoder().encode(place),
})

async function importKey(bytes: Uint8Array<ArrayBuffer>): Promise<Key> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt'])
  return { kid: hex.slice(0, nameChars), key }
}

/** @throws ConfigError, which does not quote it */
function readKey(name: string, text: string): Uint8Array<ArrayBuffer> {
  const bytes = /^[\w+/-]+=*$/.test(text.trim()) ? tryBase64(text.trim()) : undefined
  if (bytes?.byteLength !== keyBytes)
    throw new ConfigError(
      `${name}: ${keyBytes} bytes in base64, as "openssl rand -base64 ${keyBytes}" makes them`,
    )
  return bytes
}

function tryBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return fromBase64(text.replaceAll('-', '+').replaceAll('_', '/'))
  } catch {
    return undefined // not base64
  }
}

const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))
const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
