import { expect, test } from 'vitest'
import { createRedact, secretsIn } from '../../src/observe/redact.ts'

const redact = createRedact(['my-own-key', 'short'])

test.each([
  ['a my-own-key b my-own-key', 'a [redacted] b [redacted]'],
  ['{"api_key":"abc","x":1}', '{"api_key":"[redacted]","x":1}'],
  ['{"x-api-key" : "a\\\\b"}', '{"x-api-key" : "[redacted]"}'],
  ['{"OPENAI_API_KEY_2":"abc"}', '{"OPENAI_API_KEY_2":"[redacted]"}'],
  [
    '{"clientSecret":"abc","Authorization":"Basic abc"}',
    '{"clientSecret":"[redacted]","Authorization":"[redacted]"}',
  ],
  ['{"arguments":"{\\"password\\":\\"abc\\"}"}', '{"arguments":"{\\"password\\":\\"[redacted]\\"}"}'],
  ['use sk-proj-abcdefghijklmnop.', 'use [redacted].'],
  ['AKIAABCDEFGHIJKLMNOP and ghp_abcdefghijklmnopqrstuv', '[redacted] and [redacted]'],
  ['gsk_abcdefghijklmnopqrstuv', '[redacted]'],
  ['eyJhbGciOiJI.eyJzdWIiOiIx.c2ln', '[redacted]'],
  ['curl -H "Authorization: Bearer abcdefgh=="', 'curl -H "Authorization: Bearer [redacted]"'],
])('%s', (text, clean) => expect(redact(text)).toBe(clean))

test.each([
  '{"prompt_tokens":12,"max_tokens":"9","token":"x"}',
  'the secret of a good password is its length',
  'ask-me-anything-you-would-like-to-know',
  'Bearer in mind',
  '{"model":"gpt-4o","key":"value"}',
])('stays as it is: %s', (text) => expect(redact(text)).toBe(text))

test('the secrets of a step are those of its headers and its query', () => {
  const headers = new Headers({
    authorization: 'Bearer key-one',
    'x-api-key': 'key-two',
    accept: 'text/plain',
  })
  const url = new URL('https://api.example/v1?key=key-three&alt=sse')
  const found = secretsIn({ provider: 'p', method: 'POST', url, headers, body: null, options: {} })
  expect(found.toSorted()).toEqual(['key-one', 'key-three', 'key-two'])
})

test.each([
  ['starts of JWTs', 'eyJ-'],
  ['starts of keys', 'sk-a-'],
  ['names of secrets', 'secret_'],
  ['names and quotes', 'secret"'],
  ['members without an end', '{"api_key":'],
])('a megabyte of %s takes no longer than other text', (_, piece) => {
  const text = piece.repeat((1 << 20) / piece.length)
  const began = performance.now()
  createRedact(['sk-some-secret'])(text)
  expect(performance.now() - began).toBeLessThan(2_000)
})

test.each([
  '{"client_secret":"hunter2-canary',
  '{"a":"{\\"password\\":\\"hunter2-canary',
  'the key is sk-some-se',
])('a text that was cut inside a secret holds no part of it: %s', (text) => {
  const clean = createRedact(['sk-some-secret'])(text)
  expect(clean).not.toMatch(/hunter2|sk-some/)
  expect(clean.endsWith('[redacted]')).toBe(true)
})
