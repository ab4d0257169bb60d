import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { TokenSettings } from '../../src/config.ts'
import { createSessionTokens } from '../../src/routes/session-tokens.ts'
import { createTokens } from '../../src/routes/tokens.ts'

const parent: TokenSettings = { name: 'server', token: 'tk-server-3b1f', permissions: ['run'] }
const make = (secret?: string, settings = [parent]) => createSessionTokens(createTokens(settings), secret)

/** A session token of the gateway `g`. */
async function mint(sessions = make(), asked: object = {}): Promise<string> {
  const token = await sessions.find('tk-server-3b1f')
  return (await sessions.mint(token!, 'g', asked)).token
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('what one process makes another knows, and nothing is kept', async () => {
  const token = await mint(make(), { models: ['é😀'], lifetime: 60 })
  const found = await make().find(token)
  expect(found).toMatchObject({ name: 'server', grant: { gateway: 'g', models: ['é😀'] } })
  expect([found?.opens('g'), found?.opens('h'), found?.may('edit', 'g')]).toEqual([true, false, false])
})

test('it is a JWT, and tells nothing of the token that made it', async () => {
  const token = await mint()
  const [head, body] = token.split('.').map((part) => Buffer.from(part, 'base64url').toString())
  expect(JSON.parse(head!)).toMatchObject({ alg: 'HS256', typ: 'trunkline-session+jwt' })
  const { exp, jti } = JSON.parse(body!)
  expect(exp).toBe(Math.floor(Date.now() / 1_000) + 600)
  const { digest } = (await make().find('tk-server-3b1f'))!
  expect(token).not.toContain('tk-server')
  expect(head! + body!).not.toContain(digest)
  expect(jti).toMatch(/^[0-9a-f-]{36}$/)
})

test('it ends at its second, for whoever asks anew and for whoever holds it', async () => {
  const sessions = make()
  const token = await mint(sessions, { lifetime: 60 })
  const held = (await sessions.find(token))!
  const renew = () => sessions.renew(held.grant!, held.digest)
  vi.setSystemTime(held.grant!.expiresAt - 1)
  expect(await renew()).toMatchObject({ digest: held.digest })
  vi.setSystemTime(held.grant!.expiresAt)
  await expect(sessions.find(token)).rejects.toThrow('has expired')
  expect(await renew()).toBeUndefined()
})

test('it ends with the token that made it', async () => {
  const token = await mint()
  const held = (await make().find(token))!
  const later = make(undefined, [{ ...parent, token: 'tk-server-other' }])
  await expect(later.find(token)).rejects.toThrow('no longer valid')
  expect(await later.renew(held.grant!, held.digest)).toBeUndefined()
  const narrowed = make(undefined, [{ ...parent, gateways: ['other'] }])
  expect((await narrowed.find(token))?.opens('g')).toBe(false)
})

test('another secret of the operator signs otherwise', async () => {
  const token = await mint(make('one'))
  await expect(make('two').find(token)).rejects.toThrow('does not hold')
  await expect(make().find(token)).rejects.toThrow('does not hold')
  expect(await make('one').find(token)).toMatchObject({ name: 'server' })
})

test('no byte of it can be changed', async () => {
  const sessions = make()
  const token = await mint(sessions, { requests: 5, origins: ['https://a.example'] })
  const { digest } = (await sessions.find(token))!
  for (let at = 0; at < token.length; at += 1) {
    const other = token[at] === 'A' ? 'B' : 'A'
    const forged = token.slice(0, at) + other + token.slice(at + 1)
    const found = await sessions.find(forged).catch(() => undefined)
    // The last letter holds bits that are of no byte.
    if (at < token.length - 1) expect(found, `at ${at}`).toBeUndefined()
    else expect(found?.grant?.requests ?? 5).toBe(5)
  }
  expect(digest).toMatch(/^[0-9a-f]{64}$/)
})

test('JWTs of others are theirs', async () => {
  const jwt = (head: object) =>
    [head, { sub: 'x' }].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  for (const other of [`${jwt({ alg: 'RS256', typ: 'JWT' })}.c2ln`, 'eyJ.eyJ.x', 'eyJhbGciOiJI.a.b'])
    expect(await make().find(other)).toBeUndefined()
})
