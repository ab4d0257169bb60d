import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './launch.ts'
import { findFunctions, importsOf, undocumented } from './syntax.ts'

const fileLinesMax = 350
const functionLinesMax = 70
const nestingMax = 4

/** Layers of `src/`, and what each may import beside its own files. `shared` is free to all. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  index: ['gateway', 'routes', 'providers', 'session', 'runs', 'observe', 'store'],
  gateway: ['manage', 'rooms', 'routes', 'providers', 'session', 'runs', 'observe', 'store'],
  manage: ['rooms', 'providers', 'store'],
  rooms: ['routes', 'pipeline', 'providers', 'observe', 'store'],
  routes: ['pipeline', 'session', 'runs', 'providers', 'dialects', 'observe', 'store'],
  pipeline: ['providers', 'runs', 'observe', 'store'],
  providers: ['dialects'],
  dialects: [],
  session: ['runs'],
  runs: [],
  observe: [],
  store: [],
  client: [],
  shared: [],
}
/** Shipped on its own: not even what is shared. */
const alone = new Set(['client'])
const shared = new Set([
  'types',
  'socket',
  'errors',
  'limits',
  'config',
  'controls',
  'ids',
  'prices',
  'hash',
  'loopback',
  'streams',
  'web',
  'plain',
  'fields',
  'splitter',
  'eventstream',
  'pause',
  'json',
  'wildcard',
  'cut',
])

const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => `src/${file}`)
const adapters = readdirSync(join(root, 'adapters'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => `adapters/${file}`)
const text = (file: string): string => readFileSync(join(root, file), 'utf8')

/** `src/routes/x.ts` → `routes`; `src/gateway.ts` → `gateway`. */
function layerOf(file: string): string {
  const [, first = '', second] = file.split('/')
  const name = second ? first : first.replace('.ts', '')
  return shared.has(name) ? 'shared' : name
}

const resolveFrom = (file: string, to: string): string => relative(root, join(root, dirname(file), to))

/** Import edges inside the project, as pairs of files. */
const edges = [...sources, ...adapters].flatMap((file) =>
  importsOf(file, text(file))
    .filter((name) => name.startsWith('.'))
    .map((name): [string, string] => [file, resolveFrom(file, name)]),
)

/** Edges that the layer rule forbids. */
function forbidden(pairs: readonly [string, string][]): string[] {
  const wrong = pairs.filter(([from, to]) => {
    if (!from.startsWith('src/')) return false
    if (!to.startsWith('src/')) return true
    const [own, other] = [layerOf(from), layerOf(to)]
    const isFree = other === 'shared' && !alone.has(own)
    return own !== other && !isFree && !allowed[own]?.includes(other)
  })
  return wrong.map((pair) => pair.join(' → '))
}

/** One cycle among edges, if there is any. */
function findCycle(pairs: readonly [string, string][]): string[] | undefined {
  const done = new Set<string>()
  const visit = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path, file]
    if (done.has(file)) return undefined
    for (const [, to] of pairs.filter(([from]) => from === file)) {
      const cycle = visit(to, [...path, file])
      if (cycle) return cycle
    }
    done.add(file)
    return undefined
  }
  for (const [from] of pairs) {
    const cycle = visit(from, [])
    if (cycle) return cycle
  }
  return undefined
}

const runtimeWords = /\b(Deno|Bun|process)\.|from '(node:|cloudflare:|crossws|@hono\/node-server|ws')/
const untyped = /(:|as|<)\s*any\b|@ts-(ignore|expect-error|nocheck)/

describe('the architecture', () => {
  test('layers import downwards only', () => {
    expect(forbidden(edges)).toEqual([])
    expect(forbidden([['src/session/a.ts', 'src/routes/b.ts']])).toHaveLength(1)
    expect(forbidden([['src/providers/a.ts', 'adapters/node.ts']])).toHaveLength(1)
    expect(forbidden([['src/client/a.ts', 'src/errors.ts']])).toHaveLength(1)
  })

  test('every folder of src is a known layer', () => {
    const layers = new Set(sources.map(layerOf))
    expect([...layers].filter((layer) => !(layer in allowed))).toEqual([])
  })

  test('there are no import cycles', () => {
    expect(findCycle(edges)).toBeUndefined()
    expect(
      findCycle([
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ]),
    ).toEqual(['a', 'b', 'c', 'a'])
  })

  test('the core names no runtime', () => {
    expect(sources.filter((file) => runtimeWords.test(text(file)))).toEqual([])
    expect("import { x } from 'node:fs'").toMatch(runtimeWords)
    expect('process.env').toMatch(runtimeWords)
  })

  test('only adapters/crossws.ts knows how a session meets a peer', () => {
    const knowing = adapters.filter((file) => text(file).includes('gateway.open('))
    expect(knowing).toEqual(['adapters/crossws.ts'])
  })

  test('nothing is any, and nothing is kept from the compiler', () => {
    expect([...sources, ...adapters].filter((file) => untyped.test(text(file)))).toEqual([])
    for (const line of ['let x: any', 'y as any', '// @ts-ignore']) expect(line).toMatch(untyped)
  })

  test('no provider stream is forked, as a fork hides cancels', () => {
    expect([...sources, ...adapters].filter((file) => text(file).includes('.tee()'))).toEqual([])
  })
})

describe('the sizes', () => {
  const all = [...sources, ...adapters]
  test(`files have at most ${fileLinesMax} lines`, () => {
    expect(all.filter((file) => text(file).split('\n').length > fileLinesMax)).toEqual([])
  })

  test(`functions have at most ${functionLinesMax} lines, and ${nestingMax} levels`, () => {
    const wrong = all.flatMap((file) =>
      findFunctions(file, text(file))
        .filter(({ lines, nesting }) => lines > functionLinesMax || nesting > nestingMax)
        .map(({ name, lines, nesting }) => `${file} ${name}: ${lines} lines, ${nesting} deep`),
    )
    expect(wrong).toEqual([])
    const deep = 'function f() { if (a) { for (;;) { if (b) { while (c) { if (d) { e() } } } } } }'
    expect(findFunctions('x.ts', deep)[0]).toMatchObject({ name: 'f', nesting: 5 })
    expect(findFunctions('x.ts', `const g = () => {\n${'h()\n'.repeat(80)}}`)[0]!.lines).toBeGreaterThan(
      functionLinesMax,
    )
  })
})

describe('the documents', () => {
  test('every export of the core says what it is for', () => {
    expect(sources.flatMap((file) => undocumented(file, text(file)))).toEqual([])
    expect(undocumented('x.ts', '/** Yes. */\nexport const a = 1\nexport const b = 2')).toEqual(['x.ts b'])
  })
})

describe('importing', () => {
  test.each(['index.ts', 'client/index.ts'])('%s does nothing: no globals, no timers, no output', (file) => {
    const script = `
      const before = new Set(Object.getOwnPropertyNames(globalThis))
      await import('./src/${file}')
      const added = Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name))
      const held = process.getActiveResourcesInfo().filter((name) => /Timeout|Server|Socket/.test(name))
      console.log(JSON.stringify({ added, held }))`
    const output = execFileSync('node', ['--input-type=module', '-e', script], {
      cwd: root,
      encoding: 'utf8',
    })
    const { added, held } = JSON.parse(output) as { added: string[]; held: string[] }
    expect(added.filter((name) => !name.startsWith('__zod'))).toEqual([])
    expect(held.filter((name) => name === 'Timeout')).toEqual([])
  })
})
