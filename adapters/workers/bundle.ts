import { build } from 'esbuild'

/** Bundle the Worker into one self-contained module: the same for a deployment and for `start:workers`. */
export async function bundleWorker(outfile: string): Promise<void> {
  await build({
    entryPoints: [new URL('./worker.ts', import.meta.url).pathname],
    outfile,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'neutral',
    target: 'es2023',
    mainFields: ['module', 'main'],
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'error',
  })
}
