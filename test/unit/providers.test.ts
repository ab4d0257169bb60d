import { describe, expect, test } from 'vitest'
import type { ProviderSettings } from '../../src/config.ts'
import { GatewayError } from '../../src/errors.ts'
import { createProviders } from '../../src/providers/providers.ts'
import type { ProviderRow } from '../../src/providers/row.ts'
import { providers as rows, table } from '../../src/providers/table.ts'

const local = { ollama: {}, vllm: {} }
const settings = {
  'workers-ai': { account_id: 'acc' },
  ...local,
  mine: { base_url: 'http://10.0.0.1:9/llm/' },
}
const providers = createProviders(settings, {}, rows)

/** The upstream URL of a path with a query, as routes ask for it. */
function resolve(slug: string, endpoint: string, own: Record<string, ProviderSettings> = settings): string {
  const made = own === settings ? providers : createProviders(own, {}, rows)
  const mark = endpoint.indexOf('?')
  const path = mark < 0 ? endpoint : endpoint.slice(0, mark)
  return made.get(slug)!.resolve(path, mark < 0 ? '' : endpoint.slice(mark), new Headers()).href
}

/** What is thrown must be ours, and a `bad_request`. */
function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError)
    expect((error as GatewayError).code).toBe('bad_request')
    return (error as GatewayError).message
  }
  throw new Error('it was not refused')
}

const vertex = 'v1/projects/p/locations'
const spellings: [slug: string, path: string, url: string][] = [
  ['openai', 'chat/completions', 'https://api.openai.com/v1/chat/completions'],
  ['openai', 'v1/chat/completions', 'https://api.openai.com/v1/chat/completions'],
  ['openai', '/responses', 'https://api.openai.com/v1/responses'],
  ['openai', '?model=gpt-realtime', 'https://api.openai.com/v1?model=gpt-realtime'],
  ['openai', 'files/', 'https://api.openai.com/v1/files/'],
  ['anthropic', 'v1/messages', 'https://api.anthropic.com/v1/messages'],
  ['anthropic', 'messages', 'https://api.anthropic.com/v1/messages'],
  [
    'azure-openai',
    'res/dep/chat/completions?api-version=2024-10-21',
    'https://res.openai.azure.com/openai/deployments/dep/chat/completions?api-version=2024-10-21',
  ],
  ['azure-openai', 'res/openai/responses', 'https://res.openai.azure.com/openai/responses'],
  ['azure-openai', 'res/openai/v1/responses', 'https://res.openai.azure.com/openai/v1/responses'],
  [
    'aws-bedrock',
    'bedrock-runtime/us-east-1/model/anthropic.claude-3%3A0/invoke',
    'https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3%3A0/invoke',
  ],
  [
    'aws-bedrock',
    'bedrock-runtime/us-east-1/model/us.anthropic.claude-v1:0/invoke',
    'https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-v1:0/invoke',
  ],
  [
    'aws-bedrock',
    'bedrock-mantle/eu-west-1/anthropic/v1/messages',
    'https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages',
  ],
  ['baseten', 'v1/chat/completions', 'https://inference.baseten.co/v1/chat/completions'],
  ['baseten', 'model/abc123', 'https://model-abc123.api.baseten.co/production/predict'],
  ['cartesia', 'tts/bytes', 'https://api.cartesia.ai/tts/bytes'],
  ['cerebras', 'chat/completions', 'https://api.cerebras.ai/v1/chat/completions'],
  ['cerebras', 'v1/chat/completions', 'https://api.cerebras.ai/v1/chat/completions'],
  ['cohere', 'v1/chat', 'https://api.cohere.com/v1/chat'],
  ['cohere', 'v2/embed', 'https://api.cohere.com/v2/embed'],
  ['deepgram', 'v1/listen?model=nova-3', 'https://api.deepgram.com/v1/listen?model=nova-3'],
  ['deepseek', 'chat/completions', 'https://api.deepseek.com/chat/completions'],
  ['deepseek', 'v1/chat/completions', 'https://api.deepseek.com/chat/completions'],
  ['elevenlabs', 'v1/text-to-speech/v', 'https://api.elevenlabs.io/v1/text-to-speech/v'],
  ['google', 'v1beta/models', 'https://generativelanguage.googleapis.com/v1beta/models'],
  ['fal', 'fal-ai/fast-sdxl', 'https://fal.run/fal-ai/fast-sdxl'],
  ['fireworks', 'chat/completions', 'https://api.fireworks.ai/inference/v1/chat/completions'],
  [
    'google-ai-studio',
    'v1/models/gemini-2.5:generateContent',
    'https://generativelanguage.googleapis.com/v1/models/gemini-2.5:generateContent',
  ],
  [
    'google-ai-studio',
    'v1beta/models/gemini-2.5:streamGenerateContent?alt=sse',
    'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5:streamGenerateContent?alt=sse',
  ],
  [
    'google-vertex-ai',
    `${vertex}/us-east4/publishers/google/models/g:predict`,
    `https://us-east4-aiplatform.googleapis.com/${vertex}/us-east4/publishers/google/models/g:predict`,
  ],
  ['google-vertex-ai', `${vertex}/global/x`, `https://aiplatform.googleapis.com/${vertex}/global/x`],
  ['google-vertex-ai', `${vertex}/eu/x`, `https://aiplatform.eu.rep.googleapis.com/${vertex}/eu/x`],
  ['google-vertex-ai', `${vertex}/us/x`, `https://aiplatform.us.rep.googleapis.com/${vertex}/us/x`],
  [
    'google-vertex-ai',
    'v1beta1/projects/p/locations/us-west1',
    'https://us-west1-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-west1',
  ],
  ['grok', 'chat/completions', 'https://api.x.ai/v1/chat/completions'],
  ['grok', 'v1/messages', 'https://api.x.ai/v1/messages'],
  ['xai', 'v1/chat/completions', 'https://api.x.ai/v1/chat/completions'],
  ['groq', 'chat/completions', 'https://api.groq.com/openai/v1/chat/completions'],
  ['groq', 'v1/chat/completions', 'https://api.groq.com/openai/v1/chat/completions'],
  ['groq', 'openai/v1/chat/completions', 'https://api.groq.com/openai/v1/chat/completions'],
  ['huggingface', 'org/model', 'https://api-inference.huggingface.co/models/org/model'],
  ['ideogram', 'v1/ideogram-v3/generate', 'https://api.ideogram.ai/v1/ideogram-v3/generate'],
  ['mistral', 'v1/chat/completions', 'https://api.mistral.ai/v1/chat/completions'],
  ['nebius', 'chat/completions', 'https://api.tokenfactory.nebius.com/v1/chat/completions'],
  ['ollama', 'v1/chat/completions', 'http://127.0.0.1:11434/v1/chat/completions'],
  ['openrouter', 'chat/completions', 'https://openrouter.ai/api/v1/chat/completions'],
  ['openrouter', 'v1/chat/completions', 'https://openrouter.ai/api/v1/chat/completions'],
  ['parallel', 'v1beta/search', 'https://api.parallel.ai/v1beta/search'],
  ['perplexity', 'chat/completions', 'https://api.perplexity.ai/chat/completions'],
  ['perplexity-ai', 'chat/completions', 'https://api.perplexity.ai/chat/completions'],
  ['replicate', 'predictions', 'https://api.replicate.com/v1/predictions'],
  ['replicate', 'v1/predictions', 'https://api.replicate.com/v1/predictions'],
  ['together', 'chat/completions', 'https://api.together.xyz/v1/chat/completions'],
  ['vllm', 'chat/completions', 'http://127.0.0.1:8000/v1/chat/completions'],
  [
    'workers-ai',
    '@cf/meta/llama-3.1-8b-instruct',
    'https://api.cloudflare.com/client/v4/accounts/acc/ai/run/@cf/meta/llama-3.1-8b-instruct',
  ],
  ['workers-ai', 'run/@cf/meta/m', 'https://api.cloudflare.com/client/v4/accounts/acc/ai/run/@cf/meta/m'],
  [
    'workers-ai',
    'v1/chat/completions',
    'https://api.cloudflare.com/client/v4/accounts/acc/ai/v1/chat/completions',
  ],
  ['mine', 'api/chat?x=1', 'http://10.0.0.1:9/llm/api/chat?x=1'],
  ['custom-mine', 'api/chat', 'http://10.0.0.1:9/llm/api/chat'],
]

describe('the table', () => {
  const isPlain = ({ base_url, paths, target }: ProviderRow) => !paths && !target && !base_url.includes('{')

  test('every row with rules of its own has a path that is tested below', () => {
    const ruled = Object.entries(table).filter(([, row]) => !isPlain(row))
    expect(ruled.filter(([slug]) => !spellings.some(([tested]) => tested === slug))).toEqual([])
  })

  test.each(Object.entries(table).filter(([, row]) => isPlain(row)))(
    '%s takes paths as they are',
    (slug, { base_url }) => {
      expect(resolve(slug, 'some/path?a=%20')).toBe(`${base_url}/some/path?a=%20`)
    },
  )

  test.each(Object.entries(table))(
    '%s has a base URL, a way to authenticate, and rules that add up',
    (_, row) => {
      for (const base of [row.base_url, ...(row.paths ?? []).flatMap((rule) => rule.base_url ?? [])]) {
        expect(URL.canParse(base.replace(/\{\w+\}/g, 'x'))).toBe(true)
        expect(base).toMatch(/^(https:\/\/|http:\/\/127\.0\.0\.1:)[^?#]*[^/]$/)
      }
      expect(row.auth.kind === 'header' ? row.auth.header : row.auth.kind).toMatch(/^[a-z0-9-]+$/)
      for (const { from, to } of row.paths ?? []) {
        const known = [...from.matchAll(/\{\w+\}/g), ['{rest}']].map(([name]) => name)
        for (const [name] of to.matchAll(/\{\w+\}/g)) expect(known).toContain(name)
      }
    },
  )

  test.each(spellings)('%s %s', (slug, path, url) => {
    expect(resolve(slug, path)).toBe(url)
  })
})

describe('looking up a provider', () => {
  test.each(['__proto__', 'constructor', 'toString', 'custom-', 'custom-__proto__', 'compat', ''])(
    '%j is none',
    (slug) => expect(providers.get(slug)).toBeUndefined(),
  )

  test('custom-{slug} finds configured rows of either spelling, and only those', () => {
    const own = {
      a: { base_url: 'http://a/' },
      'custom-a': { base_url: 'http://b' },
      'custom-c': { base_url: 'http://c' },
    }
    expect([resolve('a', 'x', own), resolve('custom-a', 'x', own)]).toEqual(['http://a/x', 'http://b/x'])
    expect(resolve('custom-c', 'x', own)).toBe('http://c/x')
    expect(providers.get('custom-workers-ai')?.slug).toBe('workers-ai')
    expect(providers.get('custom-openai')).toBeUndefined()
  })

  test('slugs and credential headers are listed once each', () => {
    expect(providers.slugs.toSorted()).toEqual([...Object.keys(table), 'mine'].toSorted())
    const unnamed = createProviders({}, {}, rows)
    expect(Object.keys(table).filter((slug) => !unnamed.get(slug))).toEqual(Object.keys(local))
    expect(unnamed.get('custom-ollama')).toBeUndefined()
    expect(new Set(providers.credentialHeaders).size).toBe(providers.credentialHeaders.length)
    const known = ['authorization', 'x-api-key', 'api-key', 'x-goog-api-key', 'xi-api-key', 'token']
    expect(providers.credentialHeaders.toSorted()).toEqual(known.toSorted())
    expect(providers.get('google-ai-studio')?.credentialHeaders).toEqual(['x-goog-api-key', 'authorization'])
  })

  test.each([{}, { base_url: 'http://h/?x=1' }, { base_url: 'http://user:pw-secret@h' }])(
    'a new row with %j is refused at the start',
    (row) => {
      expect(() => createProviders({ fresh: row }, {}, rows)).toThrow(/^providers\.fresh: (?!.*secret)/)
    },
  )
})

describe('a base URL of the settings', () => {
  const to = (slug: string, base_url: string, path: string) => resolve(slug, path, { [slug]: { base_url } })

  test('keeps the rules of the row', () => {
    const base = 'http://127.0.0.1:4010/v1'
    expect(to('openai', base, 'v1/chat/completions')).toBe(`${base}/chat/completions`)
    expect(to('openai', `${base}/`, 'chat/completions')).toBe(`${base}/chat/completions`)
    expect(to('azure-openai', base, 'res/dep/x')).toBe(`${base}/deployments/dep/x`)
  })

  test('stands for those of the rules too', () => {
    expect(to('baseten', 'http://h', 'model/m')).toBe('http://h/production/predict')
    expect(to('aws-bedrock', 'http://h', 'bedrock-mantle/eu-west-1/x')).toBe('http://h/x')
  })

  test('may hold the placeholders of the row, which stay host labels', () => {
    expect(to('azure-openai', 'https://{resource}.azure.us/openai', 'res/dep/x')).toBe(
      'https://res.azure.us/openai/deployments/dep/x',
    )
    refusal(() => to('azure-openai', 'https://{resource}.azure.us/openai', 'a.b/dep/x'))
  })
})

describe('a path', () => {
  const bad = [
    ...[
      '../x',
      'a/../x',
      'a/..',
      '..',
      '.',
      './x',
      'a/./x',
      '%2e%2e/x',
      '.%2E/x',
      'a/%2e/x',
      '..%2fx',
      'a%2f..%2fb',
    ],
    ...[
      '%2e%2e%2fx',
      '%2F..',
      'a\\b',
      '..\\x',
      'a%5cb',
      '..%5Cx',
      '//evil.example/x',
      '///x',
      'https://evil.example/x',
    ],
    ...[
      'HTTP://evil.example',
      'git+ssh://x',
      '/https://evil.example',
      'a#b',
      '#',
      'a b',
      ' a',
      'a\tb',
      'a\nb',
      'a\r\nHost: x',
    ],
    ...['a\0b', 'a%00b', 'a%0d%0ab', 'a%7fb', 'a\x7fb', '%', '%zz', 'a%2', '%ff'],
  ]
  test.each(bad)('%j is refused', (path) => {
    expect(refusal(() => resolve('openai', path))).toMatch(/^The path must not hold /)
  })

  test('with a question mark is refused', () => {
    refusal(() => providers.get('openai')!.resolve('a?b', '', new Headers()))
  })

  test.each(['x', '/../../etc', '?a#b', '?a\nb', '?a\0'])('a query of %j is refused', (search) => {
    refusal(() => providers.get('openai')!.resolve('a', search, new Headers()))
  })

  test.each([
    'evil.example%2f',
    'evil.example',
    'a@b',
    '-a',
    'a-',
    'a:1',
    'x'.repeat(64),
    'ä',
    'a%2eb',
    '{rest}',
  ])('a host label of %j is refused', (label) => {
    refusal(() => resolve('azure-openai', `${label}/dep/chat`))
    refusal(() => resolve('aws-bedrock', `bedrock-runtime/${label}/model/m/invoke`))
    refusal(() => resolve('baseten', `model/${label}`))
  })

  test('that leaves a placeholder open is refused', () => {
    expect(refusal(() => resolve('azure-openai', 'res'))).toBe('This provider needs its resource')
    expect(refusal(() => resolve('workers-ai', '@cf/m', {}))).toBe('This provider needs its account_id')
  })

  test.each([
    'a..b/c',
    'a/...',
    '..;/x',
    'a//b',
    'x%252e%252e/y',
    'https:/x',
    'a:b',
    '{x}',
    'ünï',
    'a%20b',
    '@x',
  ])('%j stays below the base', (path) =>
    expect(resolve('openai', path)).toMatch(/^https:\/\/api\.openai\.com\/v1\//),
  )
})

describe('x-fal-target-url', () => {
  const ask = (target: string, own: Record<string, ProviderSettings> = {}): string =>
    createProviders(own, {}, rows)
      .get('fal')!
      .resolve('', '', new Headers({ 'x-fal-target-url': target })).href

  test.each([
    'https://queue.fal.run/fal-ai/x?y=1',
    'https://fal.run/x',
    'https://fal.ai/',
    'https://rest.alpha.fal.ai/s',
  ])('%s replaces the target', (target) => expect(ask(target)).toBe(target))

  test.each([
    ...[
      'http://fal.run/x',
      'https://fal.run.evil.example/x',
      'https://evilfal.run/x',
      'https://fal.run:444/x',
    ],
    ...[
      'https://u:p@fal.run/x',
      'https://fal.run@evil.example',
      'https://fal.run./x',
      'fal.run/x',
      '/x',
      'javascript:0',
    ],
  ])('%s is refused', (target) => {
    refusal(() => ask(target))
  })

  test('goes to the base URL of the settings where there is one', () => {
    const own = { fal: { base_url: 'http://h/fal' } }
    expect(ask('https://queue.fal.run/a/b?c', own)).toBe('http://h/fal/a/b?c')
    refusal(() => ask('https://evil.example/x', own))
  })
})
