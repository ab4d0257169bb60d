import * as z from 'zod'
import { type Route, scopeOf } from './route.ts'

type Schema = Readonly<Record<string, unknown>>

const prefix = '/client/v4/accounts/{account}/ai-gateway'
const failure = {
  description: 'An error',
  content: {
    'application/json': {
      schema: {
        type: 'object',
        required: ['success', 'errors', 'messages', 'result'],
        properties: {
          success: { const: false },
          result: { type: 'null' },
          messages: { type: 'array' },
          errors: {
            type: 'array',
            items: {
              type: 'object',
              required: ['code', 'message'],
              properties: { code: { type: 'integer' }, message: { type: 'string' }, path: { type: 'array' } },
            },
          },
        },
      },
    },
  },
}

/** The description of the API (OpenAPI 3.1), from the schemas that it is served by. */
export function toOpenApi(routes: readonly Route[]): object {
  const byPath = Map.groupBy(routes, ({ path }) => path)
  const paths = [...byPath].map(([path, own]) => [
    prefix + path,
    Object.fromEntries(own.map((one) => [one.method.toLowerCase(), toOperation(one)])),
  ])
  return {
    openapi: '3.1.0',
    info: { title: 'Trunkline management', version: '1' },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    paths: Object.fromEntries(paths),
  }
}

function toOperation(one: Route): object {
  const names = ['account', ...[...one.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)]
  const inPath = names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } }))
  const body = one.shown ?? one.body
  const content = body && { 'application/json': { schema: toSchema(body, 'input') } }
  return {
    summary: one.summary,
    description: `Wants a token with the scope ${scopeOf(one.method)}.`,
    parameters: [...inPath, ...toParameters(one.query)],
    ...(content && { requestBody: { required: true, content } }),
    responses: { 200: toSuccess(one.result), default: failure },
  }
}

function toParameters(query: z.core.$ZodType | undefined): object[] {
  const { properties = {}, required = [] } = query ? toSchema(query, 'input') : {}
  return Object.entries(properties as Record<string, Schema>).map(([name, schema]) => ({
    name,
    in: 'query',
    required: (required as string[]).includes(name),
    schema,
  }))
}

function toSuccess(result: z.core.$ZodType | undefined): object {
  if (!result) return { description: 'As it was recorded' }
  const schema = {
    type: 'object',
    required: ['success', 'result', 'errors', 'messages'],
    properties: {
      success: { const: true },
      result: toSchema(result, 'output'),
      errors: { type: 'array' },
      messages: { type: 'array' },
      result_info: { type: 'object' },
    },
  }
  return { description: 'Done', content: { 'application/json': { schema } } }
}

function toSchema(schema: z.core.$ZodType, io: 'input' | 'output'): Schema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    // A format says as much as the pattern that it is checked by.
    override({ jsonSchema }) {
      if (jsonSchema.format) delete jsonSchema.pattern
    },
  })
  return rest
}
