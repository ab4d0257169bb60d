import { parseSync } from 'oxc-parser'

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

const functionTypes = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'])
const blockTypes = new Set([
  'IfStatement',
  'ForStatement',
  'ForOfStatement',
  'ForInStatement',
  'WhileStatement',
  'DoWhileStatement',
  'SwitchStatement',
  'TryStatement',
])

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value

function childrenOf(node: Node): Node[] {
  return Object.values(node)
    .flatMap((value) => (Array.isArray(value) ? value : [value]))
    .filter(isNode)
}

function parse(file: string, source: string): Node {
  const { program, errors } = parseSync(file, source)
  if (errors.length) throw new Error(`${file}: ${errors[0]?.message}`)
  return program as unknown as Node
}

/** Modules a file imports from, re-exports from, or loads. */
export function importsOf(file: string, source: string): string[] {
  const { module } = parseSync(file, source)
  const named = module.staticImports.map((entry) => entry.moduleRequest.value)
  const again = module.staticExports.flatMap((entry) =>
    entry.entries.flatMap((one) => one.moduleRequest?.value ?? []),
  )
  return [...new Set([...named, ...again])]
}

/** Every function of a file, with its lines and how deep its blocks nest; nested functions count on their own too. */
export function findFunctions(
  file: string,
  source: string,
): { name: string; lines: number; nesting: number }[] {
  const found: { name: string; lines: number; nesting: number }[] = []
  const walk = (node: Node, name: string): void => {
    if (functionTypes.has(node.type)) {
      const own = (node.id as { name?: string } | null)?.name ?? name
      const lines = source.slice(node.start, node.end).split('\n').length
      found.push({ name: own, lines, nesting: depthOf(node, true) })
    }
    const next = nameOf(node) ?? name
    for (const child of childrenOf(node)) walk(child, next)
  }
  walk(parse(file, source), '')
  return found
}

function nameOf(node: Node): string | undefined {
  const named = (node.id ?? node.key) as { name?: string } | null | undefined
  return named?.name
}

/** Depth of blocks inside a node; an `else if` is no deeper than its `if`, a nested function starts anew. */
function depthOf(node: Node, isTop: boolean): number {
  if (!isTop && functionTypes.has(node.type)) return 0
  const isElseIf = (child: Node) =>
    node.type === 'IfStatement' && child === node.alternate && child.type === 'IfStatement'
  const inner = childrenOf(node).map((child) => depthOf(child, false) - (isElseIf(child) ? 1 : 0))
  return Math.max(0, ...inner) + (blockTypes.has(node.type) ? 1 : 0)
}

/** Exported declarations without a docstring before them. */
export function undocumented(file: string, source: string): string[] {
  const { comments } = parseSync(file, source)
  const documented = (start: number): boolean =>
    comments.some(
      ({ type, value, end }) =>
        type === 'Block' && value.startsWith('*') && source.slice(end, start).trim() === '',
    )
  return childrenOf(parse(file, source))
    .filter(
      (node) => node.type === 'ExportNamedDeclaration' && isNode(node.declaration) && !documented(node.start),
    )
    .map((node) => `${file} ${declaredName(node.declaration as Node)}`)
}

function declaredName(declaration: Node): string {
  const [first] = (declaration.declarations as Node[] | undefined) ?? [declaration]
  return (first && nameOf(first)) ?? declaration.type
}
