import { expect, test } from 'vitest'
import { ConfigError } from '../../src/config.ts'
import type { StoredKey, StoredProvider } from '../../src/store/config.ts'
import { createKeyring, headersPlaceOf, placeOf } from '../../src/store/keyring.ts'
import { createVault, type Vault } from '../../src/store/vault.ts'

const keyOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64')
const [first, second] = [keyOf(1), keyOf(2)]

test('what was sealed is read again at its own place only, and never the same twice', async () => {
  const vault = createVault({ TRUNKLINE_MASTER_KEY: first })
  const [one, other] = [await vault.seal('sk-secret 🦜', 'a'), await vault.seal('sk-secret 🦜', 'a')]
  expect(JSON.stringify(one)).not.toContain('sk-secret')
  expect(one.data).not.toBe(other.data)
  expect(one.iv).not.toBe(other.iv)
  expect(await vault.unseal(one, 'a')).toBe('sk-secret 🦜')
  await expect(vault.unseal(one, 'b')).rejects.toThrow()
  await expect(vault.unseal({ ...one, iv: other.iv }, 'a')).rejects.toThrow()
  const flipped = (one.data[0] === 'A' ? 'B' : 'A') + one.data.slice(1)
  await expect(vault.unseal({ ...one, data: flipped }, 'a')).rejects.toThrow()
})

test('what is sealed for a custom provider cannot be read for another address', async () => {
  const vault = createVault({ TRUNKLINE_MASTER_KEY: first })
  const at = (base_url: string): StoredProvider => ({
    ...{
      id: 'p',
      slug: 'lab',
      name: 'Lab',
      base_url,
      enable: true,
      headers: null,
      header_names: [],
      shown: {},
    },
    ...{ created_at: 0, modified_at: 0 },
  })
  const named = { id: 'k', gateway_id: 'g', provider_slug: 'custom-lab' }
  const [here, elsewhere] = [at('https://lab.example'), at('https://evil.example')]
  const places = [placeOf(named, [here]), headersPlaceOf(here)]
  const others = [placeOf(named, [elsewhere]), headersPlaceOf(elsewhere)]
  for (const [index, place] of places.entries()) {
    const sealed = await vault.seal('sk-lab', place)
    expect(await vault.unseal(sealed, place)).toBe('sk-lab')
    await expect(vault.unseal(sealed, others[index] ?? '')).rejects.toThrow()
  }
})

test('an older key reads what it sealed, and seals nothing', async () => {
  const sealed = await createVault({ TRUNKLINE_MASTER_KEY: first }).seal('x', 'a')
  const rotated = createVault({ TRUNKLINE_MASTER_KEY: second, TRUNKLINE_MASTER_KEYS_OLD: ` ${first} ,` })
  expect(await rotated.unseal(sealed, 'a')).toBe('x')
  expect(await rotated.isNewest(sealed)).toBe(false)
  const anew = await rotated.seal('x', 'a')
  expect(await rotated.isNewest(anew)).toBe(true)
  expect(await createVault({ TRUNKLINE_MASTER_KEY: second }).unseal(anew, 'a')).toBe('x')
  await expect(createVault({ TRUNKLINE_MASTER_KEY: second }).unseal(sealed, 'a')).rejects.toThrow(/not here/)
  const onlyOld = createVault({ TRUNKLINE_MASTER_KEYS_OLD: first })
  expect([onlyOld.isOpen, await onlyOld.unseal(sealed, 'a')]).toEqual([false, 'x'])
  await expect(onlyOld.seal('x', 'a')).rejects.toThrow('TRUNKLINE_MASTER_KEY')
})

test.each(['short', 'bm90IDMyIGJ5dGVz', `${first}${first}`, '!'.repeat(44)])(
  '%s is no master key, and is not quoted',
  (key) => {
    for (const name of ['TRUNKLINE_MASTER_KEY', 'TRUNKLINE_MASTER_KEYS_OLD']) {
      expect(() => createVault({ [name]: key })).toThrow(ConfigError)
      expect(() => createVault({ [name]: key })).toThrow(new RegExp(`^${name}: (?!.*${key.slice(0, 8)})`))
    }
  },
)

async function ringOf(...aliases: string[]) {
  const vault = createVault({ TRUNKLINE_MASTER_KEY: first })
  const keys = aliases.map(async (alias, index): Promise<StoredKey> => {
    const named = { id: `k${index}`, gateway_id: 'g', provider_slug: 'openai' }
    const secret = await vault.seal(`sk-${alias}`, placeOf(named, []))
    const default_config = alias.endsWith('!')
    return { ...named, alias, default_config, secret, secret_preview: '…', created_at: 0, modified_at: 0 }
  })
  return { vault, keys: await Promise.all(keys) }
}

const reader =
  (vault: Vault) =>
  (key: StoredKey): Promise<string> =>
    vault.unseal(key.secret, placeOf(key, []))

test('a keyring gives the key that is named, else the default, else none', async () => {
  const { vault, keys } = await ringOf('default', 'a', 'b!')
  const ring = createKeyring(keys, reader(vault), () => undefined)
  expect(await ring.find('openai', undefined)).toBe('sk-b!')
  expect(await ring.find('openai', 'default')).toBe('sk-b!')
  expect(await ring.find('openai', 'a')).toBe('sk-a')
  expect(await ring.find('anthropic', undefined)).toBeUndefined()
  await expect(ring.find('openai', 'c')).rejects.toMatchObject({
    code: 'unknown_alias',
    message: expect.stringContaining('default, a, b!'),
  })
  expect(new Set(ring.found('openai'))).toEqual(new Set(['sk-b!', 'sk-a']))
  const plain = createKeyring(keys.slice(0, 2), reader(vault), () => undefined, ring)
  expect(await plain.find('openai', undefined)).toBe('sk-default')
  expect(plain.found('openai')).toContain('sk-b!')
})

test('however often what is stored changes, the keys that are there are known, and the last that were', async () => {
  const { vault, keys } = await ringOf(
    'default',
    ...Array.from({ length: 250 }, (_, index) => `next-${index}`),
  )
  const [stays, ...coming] = keys
  let ring = createKeyring([stays!], reader(vault), () => undefined)
  await ring.find('openai', undefined)
  for (let change = 0; change < 20_000; change += 1)
    ring = createKeyring([stays!], reader(vault), () => undefined, ring)
  expect(ring.found('openai')).toEqual(['sk-default'])
  for (const next of coming) {
    ring = createKeyring([stays!, next], reader(vault), () => undefined, ring)
    await ring.find('openai', next.alias)
  }
  // The one that stays, the one that came last, and a hundred before it.
  expect(ring.found('openai')).toHaveLength(102)
  expect(ring.found('openai')).toEqual(expect.arrayContaining(['sk-default', 'sk-next-249', 'sk-next-149']))
})

test('what a former keyring finds late, the latest knows', async () => {
  const { vault, keys } = await ringOf('default')
  const former = createKeyring(keys, reader(vault), () => undefined)
  const finding = former.find('openai', undefined)
  const latest = createKeyring([], reader(vault), () => undefined, former)
  await finding
  expect(latest.found('openai')).toEqual(['sk-default'])
})

test('a key that cannot be read is reported, and its secret is not in the word', async () => {
  const { keys } = await ringOf('default')
  const reports: unknown[] = []
  const ring = createKeyring(keys, reader(createVault({ TRUNKLINE_MASTER_KEY: second })), (...word) =>
    reports.push(word),
  )
  await expect(ring.find('openai', undefined)).rejects.toMatchObject({ code: 'internal' })
  expect(reports).toHaveLength(1)
  expect(String(reports[0])).not.toContain('sk-')
})
