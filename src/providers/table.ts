import { anthropic } from '../dialects/anthropic/dialect.ts'
import { bedrock } from '../dialects/bedrock/dialect.ts'
import { cohere } from '../dialects/cohere.ts'
import { aiStudio, vertex as gemini } from '../dialects/gemini/dialect.ts'
import { likeOpenai, openai } from '../dialects/openai/dialect.ts'
import { responses } from '../dialects/responses/dialect.ts'
import { workersAi } from '../dialects/workers-ai.ts'
import { bearer, type HeaderAuth, type PathRule, type ProviderRow, type ProviderTable } from './row.ts'

/** For those that also serve Anthropic's wire, whose SDK may send its own header. */
const bearerOrKey: HeaderAuth = { ...bearer, also: ['x-api-key'] }
const scheme = (name: string): HeaderAuth => ({ ...bearer, scheme: name })
const key = (header: string): HeaderAuth => ({ kind: 'header', header, also: ['authorization'] })
/** Accept a path with and without the prefix that the base URL holds already. */
const optional = (...prefixes: string[]): readonly PathRule[] =>
  prefixes.map((prefix) => ({ from: `${prefix}/{rest}`, to: '{rest}' }))
/** Vertex: the location in the path decides on the host. */
const vertex = (location: string, base_url: string): PathRule => {
  const path = `{version}/projects/{project}/locations/${location}/{rest}`
  return { from: path, to: path, base_url }
}

const studio: ProviderRow = {
  base_url: 'https://generativelanguage.googleapis.com',
  auth: key('x-goog-api-key'),
  env: 'GEMINI_API_KEY',
  prices: 'google',
  stream_usage: true,
  dialect: aiStudio,
  prefix: 'v1beta/',
}

/** The wire of the many that follow OpenAI's, and of a configured one unless told otherwise. */
const follower = likeOpenai()
/** Those of them that take reasoning back, and that serve Responses too. */
const reasoner = likeOpenai({ reasons: true })
const responder = likeOpenai({ reasons: true, responds: true })
/** Those that refuse what OpenAI has no word for. */
const strict = likeOpenai({ isStrict: true })

const grok: ProviderRow = {
  base_url: 'https://api.x.ai/v1',
  auth: bearerOrKey,
  paths: optional('v1'),
  env: 'XAI_API_KEY',
  prices: 'x-ai',
  dialect: responder,
}
const perplexity: ProviderRow = {
  base_url: 'https://api.perplexity.ai',
  auth: bearer,
  env: 'PERPLEXITY_API_KEY',
  prices: 'perplexity',
  dialect: follower,
}

/** Every provider, by the slug its users write (contract 1.2). To add one, add a row. */
export const table: Readonly<Record<string, ProviderRow>> = {
  openai: {
    base_url: 'https://api.openai.com/v1',
    auth: bearer,
    paths: optional('v1'),
    env: 'OPENAI_API_KEY',
    stream_usage: true,
    dialect: openai,
    variants: [[/^(o\d.*-(pro|deep-research)|gpt-[\d.]+-(pro|codex)|codex|computer-use)/, responses]],
  },
  anthropic: {
    base_url: 'https://api.anthropic.com/v1',
    auth: key('x-api-key'),
    paths: optional('v1'),
    env: 'ANTHROPIC_API_KEY',
    dialect: anthropic,
  },
  'azure-openai': {
    base_url: 'https://{resource}.openai.azure.com/openai',
    auth: key('api-key'),
    paths: [
      { from: '{resource}/openai/{rest}', to: '{rest}' },
      { from: '{resource}/{deployment}/{rest}', to: 'deployments/{deployment}/{rest}' },
    ],
    env: 'AZURE_OPENAI_API_KEY',
    prices: 'azure',
    dialect: openai,
    prefix: '{model:resource}/openai/v1/',
  },
  'aws-bedrock': {
    base_url: 'https://bedrock-runtime.{region}.amazonaws.com',
    auth: { kind: 'sigv4', services: ['bedrock', 'bedrock-mantle'] },
    paths: [
      { from: 'bedrock-runtime/{region}/{rest}', to: '{rest}' },
      {
        from: 'bedrock-mantle/{region}/{rest}',
        to: '{rest}',
        base_url: 'https://bedrock-mantle.{region}.api.aws',
      },
    ],
    env: 'AWS_BEARER_TOKEN_BEDROCK',
    prices: 'aws',
    dialect: bedrock,
    prefix: 'bedrock-runtime/{region}/',
  },
  baseten: {
    base_url: 'https://inference.baseten.co/v1',
    auth: bearer,
    paths: [
      { from: 'model/{model}', to: 'production/predict', base_url: 'https://model-{model}.api.baseten.co' },
      ...optional('v1'),
    ],
    env: 'BASETEN_API_KEY',
    stream_usage: true,
    dialect: follower,
  },
  cartesia: { base_url: 'https://api.cartesia.ai', auth: key('x-api-key'), env: 'CARTESIA_API_KEY' },
  cerebras: {
    base_url: 'https://api.cerebras.ai/v1',
    auth: bearer,
    paths: optional('v1'),
    env: 'CEREBRAS_API_KEY',
    stream_usage: true,
    dialect: strict,
  },
  cohere: { base_url: 'https://api.cohere.com', auth: bearer, env: 'CO_API_KEY', dialect: cohere },
  deepgram: {
    base_url: 'https://api.deepgram.com',
    auth: { ...scheme('Token'), also: ['token'] },
    env: 'DEEPGRAM_API_KEY',
  },
  deepseek: {
    base_url: 'https://api.deepseek.com',
    auth: bearerOrKey,
    paths: optional('v1'),
    env: 'DEEPSEEK_API_KEY',
    stream_usage: true,
    dialect: reasoner,
  },
  elevenlabs: { base_url: 'https://api.elevenlabs.io', auth: key('xi-api-key'), env: 'ELEVENLABS_API_KEY' },
  fal: {
    base_url: 'https://fal.run',
    auth: scheme('Key'),
    env: 'FAL_KEY',
    target: { header: 'x-fal-target-url', hosts: ['fal.run', 'fal.ai'] },
  },
  fireworks: {
    base_url: 'https://api.fireworks.ai/inference/v1',
    auth: bearer,
    paths: optional('inference/v1', 'v1'),
    env: 'FIREWORKS_API_KEY',
    stream_usage: true,
    dialect: reasoner,
  },
  google: studio,
  'google-ai-studio': studio,
  'google-vertex-ai': {
    base_url: 'https://aiplatform.googleapis.com',
    auth: { kind: 'google' },
    paths: [
      vertex('global', 'https://aiplatform.googleapis.com'),
      vertex('us', 'https://aiplatform.us.rep.googleapis.com'),
      vertex('eu', 'https://aiplatform.eu.rep.googleapis.com'),
      vertex('{region}', 'https://{region}-aiplatform.googleapis.com'),
    ],
    env: 'GOOGLE_APPLICATION_CREDENTIALS_JSON',
    stream_usage: true,
    prices: 'google',
    dialect: gemini,
    prefix: 'v1/projects/{project}/locations/{region}/',
  },
  grok,
  xai: grok,
  groq: {
    base_url: 'https://api.groq.com/openai/v1',
    auth: bearer,
    paths: optional('openai/v1', 'v1'),
    env: 'GROQ_API_KEY',
    stream_usage: true,
    dialect: strict,
  },
  huggingface: { base_url: 'https://api-inference.huggingface.co/models', auth: bearer, env: 'HF_TOKEN' },
  ideogram: { base_url: 'https://api.ideogram.ai', auth: key('api-key'), env: 'IDEOGRAM_API_KEY' },
  mistral: {
    base_url: 'https://api.mistral.ai/v1',
    auth: bearer,
    paths: optional('v1'),
    env: 'MISTRAL_API_KEY',
    dialect: likeOpenai({ isStrict: true, tellsUsage: true }),
  },
  nebius: {
    base_url: 'https://api.tokenfactory.nebius.com/v1',
    auth: bearer,
    paths: optional('v1'),
    env: 'NEBIUS_API_KEY',
    stream_usage: true,
    prices: 'huggingface_nebius',
    dialect: follower,
  },
  ollama: {
    base_url: 'http://127.0.0.1:11434/v1',
    isLocal: true,
    auth: bearer,
    paths: optional('v1'),
    stream_usage: true,
    dialect: follower,
  },
  openrouter: {
    base_url: 'https://openrouter.ai/api/v1',
    auth: bearerOrKey,
    paths: optional('api/v1', 'v1'),
    env: 'OPENROUTER_API_KEY',
    dialect: responder,
  },
  parallel: {
    base_url: 'https://api.parallel.ai',
    auth: key('x-api-key'),
    env: 'PARALLEL_API_KEY',
    dialect: follower,
  },
  perplexity,
  'perplexity-ai': perplexity,
  replicate: {
    base_url: 'https://api.replicate.com/v1',
    auth: bearer,
    paths: optional('v1'),
    env: 'REPLICATE_API_TOKEN',
  },
  together: {
    base_url: 'https://api.together.xyz/v1',
    auth: bearer,
    paths: optional('v1'),
    env: 'TOGETHER_API_KEY',
    stream_usage: true,
    dialect: follower,
  },
  vllm: {
    base_url: 'http://127.0.0.1:8000/v1',
    isLocal: true,
    auth: bearer,
    paths: optional('v1'),
    stream_usage: true,
    dialect: reasoner,
  },
  'workers-ai': {
    base_url: 'https://api.cloudflare.com/client/v4/accounts/{account_id}/ai',
    auth: bearer,
    paths: [
      { from: '@cf/{rest}', to: 'run/@cf/{rest}' },
      { from: '@hf/{rest}', to: 'run/@hf/{rest}' },
    ],
    env: 'CLOUDFLARE_API_TOKEN',
    prices: 'cloudflare',
    dialect: workersAi,
  },
}

/** Every provider there is, and what those are like that are configured. */
export const providers: ProviderTable = { rows: table, dialect: follower }
