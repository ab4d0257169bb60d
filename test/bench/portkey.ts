import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Row } from './rows.ts'

const version = '1.15.2'
/** With a later one every stream is answered 500 (`TypeError: immutable`); a pin of our own would not reach its copy. */
const overrides = { '@hono/node-server': '1.13.5' }

const built = 'node_modules/@portkey-ai/gateway/build/start-server.js'

let installed: Promise<string> | undefined

/** Install Portkey's gateway into a temporary folder, once; the command that starts it. */
export async function installPortkey(runtime: Row['runtime'], port: number): Promise<string> {
  installed ??= install()
  const folder = await installed
  const file = runtime === 'bun' ? 'bun.js' : built
  return `${runtime} ${folder}/${file} --headless --port=${port}`
}

async function install(): Promise<string> {
  const folder = join(tmpdir(), `trunkline-bench-portkey-${version}`)
  await mkdir(folder, { recursive: true })
  const packed = {
    private: true,
    type: 'module',
    dependencies: { '@portkey-ai/gateway': version },
    overrides,
  }
  await writeFile(join(folder, 'package.json'), JSON.stringify(packed))
  if (!existsSync(join(folder, built)))
    execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: folder,
      stdio: 'inherit',
    })
  await writeFile(join(folder, 'bun.js'), onBun(built))
  return folder
}

/** Its published build knows Node's server only; on Bun its app is given to Bun's own, which is the fairer figure. */
const onBun = (file: string): string => `const serve = ({ fetch, port }) => {
  Bun.serve({ port, hostname: '127.0.0.1', idleTimeout: 255, fetch })
  return { on() {} }
}
Bun.plugin({
  name: 'server',
  setup: (build) => build.module('@hono/node-server', () => ({ exports: { serve }, loader: 'object' })),
})
await import('./${file}')
`
