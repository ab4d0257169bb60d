import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { modelsInText } from '../../src/observe/model.ts'
import { createFrameMeter } from '../../src/observe/realtime.ts'
import { createProviders } from '../../src/providers/providers.ts'
import { providers as rows } from '../../src/providers/table.ts'
import { readOffer } from '../../src/routes/authenticate.ts'

const json = (value: unknown): string => JSON.stringify(value)
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(json(value))

describe('what frames tell', () => {
  test('OpenAI: each response once, of Realtime and of Responses, and transcriptions', () => {
    const meter = createFrameMeter('openai')
    const realtime = {
      input_tokens: 30,
      output_tokens: 12,
      input_token_details: { cached_tokens: 8, audio_tokens: 20, cached_tokens_details: { audio_tokens: 6 } },
      output_token_details: { audio_tokens: 9 },
    }
    expect(meter.read('provider', json({ type: 'response.done', response: { usage: realtime } }))).toEqual({
      inputTokens: 30,
      outputTokens: 12,
      cachedTokens: 8,
      audioInputTokens: 20,
      audioCachedTokens: 6,
      audioOutputTokens: 9,
      basis: 'reported',
    })
    const usage = { input_tokens: 5, output_tokens: 6, output_tokens_details: { reasoning_tokens: 2 } }
    expect(meter.read('provider', json({ type: 'response.completed', response: { usage } }))).toMatchObject({
      inputTokens: 5,
      outputTokens: 6,
      reasoningTokens: 2,
    })
    const transcribed = 'conversation.item.input_audio_transcription.completed'
    const seconds = { type: transcribed, usage: { type: 'duration', seconds: 4 } }
    expect(meter.read('provider', json(seconds))).toMatchObject({ audioSeconds: 4 })
    for (const type of ['response.created', 'response.output_item.done', 'error'])
      expect(meter.read('provider', json({ type, response: { usage } }))).toBeUndefined()
    expect(meter.read('client', json({ type: 'response.done', response: { usage } }))).toBeUndefined()
    expect(meter.read('provider', '"usage": no json')).toBeUndefined()
    expect(meter.read('provider', new Uint8Array(9))).toBeUndefined()
  })

  test('Gemini: each turn, in frames of bytes, and the model of its setup', () => {
    const meter = createFrameMeter('gemini')
    expect(meter.read('client', bytes({ setup: { model: 'models/gemini-live' } }))).toBeUndefined()
    expect(meter.model()).toBe('gemini-live')
    const usageMetadata = {
      promptTokenCount: 10,
      responseTokenCount: 4,
      responseTokensDetails: [{ modality: 'AUDIO', tokenCount: 4 }],
      thoughtsTokenCount: 3,
    }
    expect(meter.read('provider', bytes({ serverContent: {}, usageMetadata }))).toMatchObject({
      inputTokens: 10,
      outputTokens: 7,
      audioOutputTokens: 4,
      reasoningTokens: 3,
    })
  })

  test('the model is what the provider says, else the URL, else the client', () => {
    const meter = createFrameMeter('openai')
    meter.read('client', json({ type: 'response.create', model: 'cheap' }))
    expect(meter.model()).toBe('cheap')
    meter.read('provider', json({ type: 'session.created', session: { model: 'gpt-realtime' } }))
    meter.read('client', json({ model: 'another' }))
    expect(meter.model()).toBe('gpt-realtime')
    for (const model of ['dear', 'cheap']) {
      meter.read('provider', json({ type: 'response.completed', response: { model, usage: {} } }))
      expect(meter.model()).toBe(model)
    }
    const named = createFrameMeter('openai', 'gpt-realtime')
    named.read('client', json({ type: 'session.update', model: 'cheap' }))
    expect(named.model()).toBe('gpt-realtime')
  })

  test('Gemini: the model is that of the setup, however it is spelled, whatever the URL and other frames say', () => {
    const meter = createFrameMeter('gemini', 'cheap')
    meter.read('client', '{"setup":{"mod\\u0065l":"projects/p/models/dear","x":{"model":"cheap"}}}')
    meter.read('client', json({ toolResponse: { functionResponses: [{ response: { model: 'cheap' } }] } }))
    meter.read('client', json({ setup: { model: 'models/cheap' } }))
    expect(meter.model()).toBe('dear')
  })
})

describe('models that a text names', () => {
  test('every one that a parser could find, however it is spelled', () => {
    const key = fc.constantFrom('model', 'models', 'model_id', 'x', 'a"b', 'mo\\del', 'é')
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.integer(),
        fc.array(tie('tree'), { maxLength: 4 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }))
    const toEscaped = (text: string): string => text.replace(/model/g, (word) => word.replace('o', '\\u006f'))
    const walk = (value: unknown): string[] => {
      if (typeof value !== 'object' || value === null) return []
      if (Array.isArray(value)) return value.flatMap(walk)
      return Object.entries(value).flatMap(([name, one]) => {
        const own = ['model', 'models', 'model_id'].includes(name)
          ? [one].flat().filter((x) => typeof x === 'string')
          : []
        return [...(own as string[]), ...walk(one)]
      })
    }
    fc.assert(
      fc.property(tree, fc.boolean(), fc.constantFrom(0, 2), (value, isEscaped, indent) => {
        const text = JSON.stringify(value, null, indent)
        const found = modelsInText(isEscaped ? toEscaped(text) : text)
        for (const model of walk(value)) expect(found).toContain(model.replace(/^models\//, ''))
      }),
    )
    expect(modelsInText('{"model":"a","model":"b"}')).toEqual(['a', 'b'])
    expect(modelsInText('{"prompt":"\\"model\\":\\"c\\"","model":"a"}')).toEqual(['a'])
    expect(modelsInText('{"models":["a", "b"],"stop":["c"]}')).toEqual(['a', 'b'])
    expect(modelsInText('{"models":[[1,"a"],"b"],"stop":["c"]}')).toEqual(['a', 'b'])
    expect(modelsInText('{"model":{"x":"a"},"y":["b"]}')).toEqual([])
    expect(modelsInText('model=a')).toBeUndefined()
  })

  test('a text of many mebibytes is read in a moment', () => {
    const text = json({
      lines: '\n"\\'.repeat(4 << 20),
      image: 'A'.repeat(24 << 20),
      model: 'a',
      more: ['"'.repeat(1 << 20)],
    })
    const began = performance.now()
    expect(modelsInText(text)).toEqual(['a'])
    expect(performance.now() - began).toBeLessThan(10_000)
  })
})

describe('offers of subprotocols', () => {
  test('a secret is selected for nobody, in whatever case its name is', () => {
    for (const name of ['xai-client-secret', 'XAI-Client-Secret', 'openai-insecure-api-key', 'fal-api-key']) {
      const { key, open, selected } = readOffer(`${name}.K.1, realtime`)
      expect([key, open, selected]).toEqual(['K.1', ['realtime'], 'realtime'])
      expect(readOffer(`${name}.K.1`).selected).toBeUndefined()
    }
    const two = readOffer('CF-AIG-Authorization.a, cf-aig-authorization.b, realtime')
    expect(two).toMatchObject({ token: 'a', open: ['realtime'], selected: 'realtime' })
    expect(two.key).toBeUndefined()
  })
})

describe('providers of sockets', () => {
  test('settings that make none stop the start', () => {
    expect(() =>
      createProviders({ a: { base_url: 'http://a', realtime_fallback: 'nobody' } }, {}, rows),
    ).toThrow('providers.a: realtime_fallback')
    expect(() => createProviders({ openai: { realtime_fallback: 'google' } }, {}, rows)).toThrow(
      'same dialect',
    )
    expect(() => createProviders({ openai: { realtime_fallback: 'azure-openai' } }, {}, rows)).not.toThrow()
  })

  test.each([
    ['openai', '', 'wss://api.openai.com/v1/realtime'],
    ['xai', '', 'wss://api.x.ai/v1/realtime'],
    [
      'google',
      '',
      'wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent',
    ],
    ['elevenlabs', '', 'wss://api.elevenlabs.io/v1/convai/conversation'],
    ['cartesia', '', 'wss://api.cartesia.ai/tts/websocket'],
    ['deepgram', '', 'wss://api.deepgram.com/v1/listen'],
    ['fal', 'fal-ai/fast-lcm-diffusion', 'wss://ws.fal.run/fal-ai/fast-lcm-diffusion'],
    ['fal', 'fal-ai/flux/realtime', 'wss://fal.run/fal-ai/flux/realtime'],
    ['azure-openai', 'res/openai/v1/realtime', 'wss://res.openai.azure.com/openai/v1/realtime'],
    ['azure-openai', 'res/dep/realtime', 'wss://res.openai.azure.com/openai/realtime?deployment=dep'],
    ['groq', 'voice', 'wss://api.groq.com/openai/v1/voice'],
    ['ollama', 'voice', 'ws://127.0.0.1:11434/v1/voice'],
  ])('%s, “%s” is at %s', (slug, path, url) => {
    expect(createProviders({ ollama: {} }, {}, rows).get(slug)?.realtime.resolve(path, '').href).toBe(url)
  })

  test('an address of the operator’s own stands for every spelling of the row’s', () => {
    const { realtime } = createProviders(
      { openai: { realtime_url: 'wss://voice.example/v2/live' } },
      {},
      rows,
    ).get('openai')!
    for (const path of ['', 'realtime', 'v1/realtime'])
      expect(realtime.resolve(path, '?model=m').href).toBe('wss://voice.example/v2/live?model=m')
    expect(realtime.resolve('responses', '').href).toBe('wss://voice.example/v2/live/responses')
  })
})
