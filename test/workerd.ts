import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { freePort, launch, root, type Started } from './launch.ts'

/** Run a module of the tests as a Worker in workerd. A `Store` that it exports is bound as `STORES`. */
export async function startWorker(file: string, stores = false): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'trunkline-worker-'))
  const port = await freePort()
  await build({
    entryPoints: [join(root, file)],
    outfile: join(folder, 'worker.mjs'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    mainFields: ['module', 'main'],
    conditions: ['worker', 'browser'],
    external: ['cloudflare:*'],
    logLevel: 'error',
  })
  const objects = `
      durableObjectNamespaces = [(className = "Store", uniqueKey = "store", enableSql = true)],
      durableObjectStorage = (localDisk = "disk"),
      bindings = [(name = "STORES", durableObjectNamespace = "Store")],`
  await writeFile(
    join(folder, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
      compatibilityDate = "2026-10-23",${stores ? objects : ''}
      globalOutbound = "internet")),
    (name = "internet", network = (allow = ["public", "private", "local"])),
    (name = "disk", disk = (path = "${folder}", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
`,
  )
  const started = await launch(
    `workerd serve ${join(folder, 'config.capnp')} --experimental`,
    `http://127.0.0.1:${port}`,
    '/',
    {},
  )
  const stop = async () => {
    const code = await started.stop()
    await rm(folder, { recursive: true, force: true })
    return code
  }
  return { ...started, stop }
}
