import { expect, test } from 'vitest'
import { sha256 } from '../../src/hash.ts'
import { takeToken } from '../../src/routes/authenticate.ts'
import { createSessionTokens } from '../../src/routes/session-tokens.ts'
import { createTokens } from '../../src/routes/tokens.ts'

test('an expired token opens nothing, and goes to no provider', async () => {
  const tokens = createTokens([])
  const digest = await sha256('tk-old')
  const row = { id: '1', name: 'old', digest, permissions: ['run' as const], gateways: null, rates: {} }
  tokens.replace([{ ...row, created_at: 0, expires_at: Date.now() - 1 }])
  const headers = new Headers({ authorization: 'Bearer tk-old', 'x-api-key': 'sk-client' })
  const gate = {
    id: 'g',
    isLocal: false,
    required: false,
    tokens: createSessionTokens(tokens),
    slots: ['authorization', 'x-api-key'],
  }
  expect(await takeToken(headers, gate)).toBeUndefined()
  expect([...headers]).toEqual([['x-api-key', 'sk-client']])
  expect(await tokens.get(digest)).toBeUndefined()
})
