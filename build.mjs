import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { basename } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { bundleWorker } from './adapters/workers/bundle.ts'

/** The core must stay small enough to start fast anywhere. */
const coreGzipBytesMax = 80 * 1024
/** A page pays for the client before it asks anything. */
const clientGzipBytesMax = 8_000

rmSync('dist', { recursive: true, force: true })

// Dependencies are bundled in: what a user runs is what was tested.
const common = {
  bundle: true,
  format: 'esm',
  target: 'es2023',
  logLevel: 'warning',
  external: ['bun:sqlite'],
}
const requireShim =
  "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
const { metafile } = await build({
  ...common,
  metafile: true,
  entryPoints: [
    'src/index.ts',
    { in: 'src/manage/app.ts', out: 'manage' },
    'adapters/parts.ts',
    'adapters/node.ts',
    'adapters/bun.ts',
    'adapters/deno.ts',
    'adapters/cli.ts',
    'adapters/sqlite-thread.ts',
  ].map((entry) => (typeof entry === 'string' ? { in: entry, out: basename(entry, '.ts') } : entry)),
  outdir: 'dist',
  splitting: true,
  platform: 'node',
  minifySyntax: true,
  banner: { js: requireShim },
})
await build({
  ...common,
  entryPoints: ['adapters/deno-deploy.ts'],
  outfile: 'dist/deno-deploy.js',
  platform: 'node',
  minify: true,
  banner: { js: requireShim },
})
await build({
  ...common,
  entryPoints: ['src/client/index.ts'],
  outfile: 'dist/client.js',
  platform: 'neutral',
  minify: true,
})
await bundleWorker('dist/worker.js')
const core = await build({
  ...common,
  entryPoints: ['src/index.ts'],
  write: false,
  minify: true,
  platform: 'neutral',
  mainFields: ['module', 'main'],
})
execFileSync('tsc', ['-p', 'tsconfig.json', '--emitDeclarationOnly'], { stdio: 'inherit' })

const { bin, exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const promised = [...Object.values(bin), ...Object.values(exports).flatMap(Object.values)]
const missing = promised.filter((file) => !existsSync(file))
if (missing.length > 0) throw new Error(`package.json names what was not built: ${missing.join(', ')}`)

/** A file, and the parts it shares with others. */
function partsOf(file, seen = new Set()) {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const { path, kind } of metafile.outputs[file]?.imports ?? [])
    if (kind === 'import-statement' && metafile.outputs[path]) partsOf(path, seen)
  return seen
}

const sizes = [
  ['core (src/index.ts, minified)', core.outputFiles[0].contents],
  ...['index', 'manage', 'node', 'bun', 'deno', 'cli', 'deno-deploy', 'worker', 'client'].map((name) => {
    const parts = [...partsOf(`dist/${name}.js`)].map((file) => readFileSync(file))
    return [`dist/${name}.js${parts.length > 1 ? ' and its parts' : ''}`, Buffer.concat(parts)]
  }),
]
const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} kB`.padStart(10)
console.log(`${'bundle'.padEnd(32)}${'size'.padStart(10)}${'gzipped'.padStart(10)}`)
for (const [name, bytes] of sizes) {
  console.log(`${name.padEnd(32)}${kilobytes(bytes.length)}${kilobytes(gzipSync(bytes).length)}`)
}
const budgets = [
  ['the core', sizes[0][1], coreGzipBytesMax],
  ['the client', readFileSync('dist/client.js'), clientGzipBytesMax],
]
for (const [name, bytes, gzipBytesMax] of budgets) {
  if (gzipSync(bytes).length <= gzipBytesMax) continue
  console.error(`${name} is over ${gzipBytesMax} bytes gzipped`)
  process.exitCode = 1
}
