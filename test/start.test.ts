import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { freePort, root, runtimes, startEmulator, startGateway } from './launch.ts'
import { timeOf } from './prompt.ts'

/** Run a start script that is meant to refuse; its exit code and what it printed. */
function refusalOf(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; output: string }> {
  const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
  return new Promise((resolve) => {
    execFile(
      command,
      args,
      { cwd: root, env: { ...process.env, PATH, ...env }, timeout: 10_000 },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr })
      },
    )
  })
}

/** The processes that a process has started, and those that they have, by name. */
async function descendants(pid: number): Promise<[name: string, pid: number][]> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean)
  const all = children.map(async (child): Promise<[string, number][]> => {
    const name = (await readFile(`/proc/${child}/comm`, 'utf8')).trim()
    return [[name, Number(child)], ...(await descendants(Number(child)))]
  })
  return (await Promise.all(all)).flat()
}

/** From the start of a process to its first answer. */
const startMsMax = 2_000
const cli = ['adapters/cli.ts']

describe('starting', () => {
  for (const runtime of runtimes) {
    test(`${runtime} serves within 2 s without any configuration, and stops with 0 on SIGTERM`, {
      timeout: 90_000,
    }, async () => {
      const start = async () => {
        const gateway = await startGateway(runtime, {})
        expect(await gateway.stop()).toBe(0)
        expect(gateway.output()).toContain(`(${runtime})`)
        return gateway.startMs
      }
      expect(await timeOf(start, startMsMax)).toBeLessThanOrEqual(startMsMax)
    })

    test(`${runtime} streams from the demo provider, which says what it is`, async () => {
      const config = { providers: { demo: { headers: { 'x-upstream': '{"events":2}' } } } }
      const gateway = await startGateway(runtime, config, {}, ['--demo'])
      const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] })
      const response = await fetch(`${gateway.url}/v1/default/default/demo/chat/completions`, {
        method: 'POST',
        body,
      })
      const text = await response.text()
      expect(text).toContain('emulator')
      expect(text.match(/^data: \{/gm)?.length).toBeLessThan(6) // as few as its configured header asks for
      expect(text).toMatch(/data: \[DONE\]\n\n$/)
      await gateway.stop()
      expect(gateway.output()).toContain('demo (emulator): POST /v1/chat/completions')
    })
  }

  test('npm start serves within 2 s, and a SIGTERM to npm drains the gateway', async () => {
    const port = await freePort()
    const folder = await mkdtemp(join(tmpdir(), 'trunkline-npm-'))
    const began = performance.now()
    const npm = spawn('npm', ['start', '--', '--port', String(port), '--data', folder], { cwd: root })
    const isUp = () =>
      fetch(`http://127.0.0.1:${port}/health`).then(
        () => true,
        () => false,
      )
    while (!(await isUp())) await sleep(10)
    expect(performance.now() - began).toBeLessThan(2_000)
    const exit = once(npm, 'exit')
    npm.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
    expect(await isUp()).toBe(false)
    await rm(folder, { recursive: true, force: true })
  })

  test('workerd that is killed is no clean end', async () => {
    const port = await freePort()
    const folder = await mkdtemp(join(tmpdir(), 'trunkline-killed-'))
    const PATH = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`
    const args = ['adapters/workers/start.ts', '--port', String(port), '--data', folder]
    const started = spawn('node', args, { cwd: root, env: { ...process.env, PATH } })
    await once(started.stdout, 'data')
    const children = await readFile(`/proc/${started.pid}/task/${started.pid}/children`, 'utf8')
    const exit = once(started, 'exit')
    process.kill(Number(children.trim().split(' ').at(-1)), 'SIGKILL')
    expect(await exit).toEqual([1, null])
    await rm(folder, { recursive: true, force: true })
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'workerd that does not end is ended after %s',
    { timeout: 60_000 }, // of which its drain is given most
    async (signal) => {
      const gateway = await startGateway('workers', {})
      const [, workerd = Number.NaN] =
        (await descendants(gateway.pid)).find(([name]) => name === 'workerd') ?? []
      process.kill(workerd, 'SIGSTOP')
      await (signal === 'SIGTERM' ? gateway.terminate() : gateway.kill())
      await expect
        .poll(() => readFile(`/proc/${workerd}/stat`).then(String, () => 'gone'))
        .toMatch(/^gone|\) Z /)
    },
  )

  for (const runtime of runtimes) {
    test(`${runtime} prints one line and no address of a provider that breaks off, and nothing of a client that leaves`, async () => {
      const emulator = await startEmulator()
      const config = { providers: { mine: { base_url: emulator.url } } }
      const gateway = await startGateway(runtime, config)
      const url = (control: object) =>
        `${gateway.url}/v1/default/default/mine/chat/completions?key=sk-in-query&x-upstream=${encodeURIComponent(JSON.stringify(control))}`
      const body = JSON.stringify({ model: 'm', stream: true, messages: [] })
      const leaving = new AbortController()
      const left = await fetch(url({ interval: 20, events: 1_000 }), {
        method: 'POST',
        body,
        signal: leaving.signal,
      })
      await left.body!.getReader().read()
      leaving.abort()
      await sleep(200)
      expect(gateway.output()).not.toMatch(/prematurely|[Aa]borted/)
      const broken = await fetch(url({ interval: 20, events: 9, reset: 3 }), { method: 'POST', body })
      await expect(broken.text()).rejects.toThrow()
      await sleep(200)
      await gateway.stop()
      await emulator.stop()
      expect(gateway.output()).not.toMatch(/sk-in-query|chat\/completions|^\s+at /m)
      const [told] = gateway.output().match(/.*The provider broke off.*/) ?? []
      // Bun tells nothing.
      if (runtime !== 'bun') expect(told).toContain(broken.headers.get('cf-aig-request-id'))
    })
  }

  test('the sample configuration of the contract is taken, without a word', async () => {
    const config = {
      gateways: [
        {
          id: 'default',
          authentication: true,
          collect_logs: true,
          cache_ttl: null,
          retry_max_attempts: 1,
          cors_origins: [],
        },
      ],
      tokens: [{ name: 'ci', token: 'env:CI_TOKEN', gateways: ['default'], permissions: ['run'] }],
      providers: { openai: { base_url: 'http://127.0.0.1:4010/v1', api_key: 'env:OPENAI_API_KEY' } },
    }
    const gateway = await startGateway('node', config, { CI_TOKEN: 'tk-ci', OPENAI_API_KEY: 'sk-env' })
    expect(gateway.output().trim()).toMatch(/^trunkline listening on \S+ \(\w+\)$/)
    await gateway.stop()
  })

  test('what will hardly be meant is said', async () => {
    const config = {
      gateways: [
        { id: 'a', authentication: true },
        { id: 'b', authentication: false },
      ],
    }
    const closed = await startGateway('node', config)
    expect(closed.output()).toContain('gateway "a" wants a token, and none is configured')
    expect(closed.output()).not.toContain('"b"')
    await closed.stop()
    const odd = await startGateway('node', {}, { TRUNKLINE_TOKEN: 'a/b=' })
    expect(odd.output()).toContain('token "TRUNKLINE_TOKEN": browsers cannot open sockets with it')
    await odd.stop()
  })

  test('the token of the environment may do all, beside those of the configuration', async () => {
    const tokens = [{ name: 'ci', token: 'tk-ci' }]
    const gateway = await startGateway('node', { tokens }, { TRUNKLINE_TOKEN: 'tk-operator' })
    const statusOf = async (token: string, method: string) => {
      const url = `${gateway.url}/client/v4/accounts/default/ai-gateway/tokens`
      const body = method === 'POST' ? JSON.stringify({ name: 'new' }) : null
      const headers = { authorization: `Bearer ${token}` }
      return (await fetch(url, { method, headers, body })).status
    }
    expect([await statusOf('tk-operator', 'POST'), await statusOf('tk-ci', 'POST')]).toEqual([200, 403])
    await gateway.stop()
    // Where the configuration names that very token, it is what the configuration says.
    const own = [{ name: 'ci', token: 'env:TRUNKLINE_TOKEN' }]
    const other = await startGateway('node', { tokens: own }, { TRUNKLINE_TOKEN: 'tk-ci' })
    const { status } = await fetch(`${other.url}/client/v4/accounts/default/ai-gateway/tokens`, {
      headers: { authorization: 'Bearer tk-ci' },
    })
    expect(status).toBe(403)
    await other.stop()
  })

  test('a header of a provider may be a variable of the environment', async () => {
    const emulator = await startEmulator()
    const config = { providers: { lab: { base_url: emulator.url, headers: { 'x-lab': 'env:LAB_KEY' } } } }
    const gateway = await startGateway('node', config, { LAB_KEY: 'sk-of-the-lab' })
    const response = await fetch(`${gateway.url}/v1/default/default/lab/echo`)
    expect(await response.json()).toMatchObject({ headers: { 'x-lab': 'sk-of-the-lab' } })
    await gateway.stop()
    await emulator.stop()
  })

  test('services of this machine are no providers until the configuration names them', async () => {
    const gateway = await startGateway('node', { providers: { ollama: {} } })
    const ask = async (slug: string) =>
      (await fetch(`${gateway.url}/v1/default/default/${slug}/models`)).status
    expect(await ask('vllm')).toBe(400)
    expect(await ask('ollama')).not.toBe(400) // 502, where there is no Ollama
    await gateway.stop()
  })

  test('a key of the environment goes to its own provider only, never to another host', async () => {
    const emulator = await startEmulator()
    const config = { providers: { openai: { base_url: `${emulator.url}/v1` } } }
    const gateway = await startGateway('node', config, { OPENAI_API_KEY: 'sk-environment' })
    const response = await fetch(`${gateway.url}/v1/default/default/openai/echo`)
    expect(await response.text()).not.toContain('sk-environment')
    await gateway.stop()
    await emulator.stop()
  })
})

describe('refusing to start', () => {
  test('beyond loopback without a token, and saying how to make one', async () => {
    for (const command of ['node', 'bun']) {
      const { code, output } = await refusalOf(command, [...cli, '--host', '0.0.0.0', '--port', '0'])
      expect(code).toBe(1)
      expect(output).toContain('export TRUNKLINE_TOKEN=$(openssl rand -hex 32); echo $TRUNKLINE_TOKEN')
    }
  })

  const bad: [title: string, config: string, told: string][] = [
    ['no JSON', '{"gateways": "secret-value"', 'not JSON'],
    ['a wrong type', '{"gateways":[{"id":7}]}', 'gateways[0].id'],
    ['an unknown field', '{"gateways":[{"id":"a","cache":1}]}', 'cache'],
    ['a missing variable', '{"tokens":[{"name":"a","token":"env:NOT_SET"}]}', 'NOT_SET'],
    ['a gateway twice', '{"gateways":[{"id":"a"},{"id":"a"}]}', '"a" is listed twice'],
    ['a token for no gateway', '{"tokens":[{"name":"a","token":"secret-value","gateways":["b"]}]}', '"b"'],
    ['a new provider without address', '{"providers":{"mine":{"api_key":"secret-value"}}}', 'providers.mine'],
    [
      'an origin that no page has',
      '{"gateways":[{"id":"a","cors_origins":["example.com"]}]}',
      'cors_origins[0]',
    ],
    [
      'an origin with a path',
      '{"gateways":[{"id":"a","cors_origins":["https://a.example/"]}]}',
      'cors_origins[0]',
    ],
    [
      'a token that no header can carry',
      '{"tokens":[{"name":"a","token":"secret value"}]}',
      'tokens[0].token',
    ],
    [
      'a missing variable for a header',
      '{"providers":{"lab":{"base_url":"http://a","headers":{"x-a":"env:NOT_SET"}}}}',
      'providers.lab.headers.x-a',
    ],
    ['an address that is none', '{"providers":{"mine":{"base_url":"ftp://x"}}}', 'providers.mine.base_url'],
  ]
  for (const [title, config, told] of bad) {
    test(`with ${title} in the configuration, naming path and reason but no secret`, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'trunkline-config-'))
      const file = join(folder, 'config.json')
      await writeFile(file, config)
      const { code, output } = await refusalOf('node', [...cli, '--config', file, '--port', '0'])
      expect(code).toBe(1)
      expect(output).toContain(told)
      expect(output).not.toContain('secret-value')
      await rm(folder, { recursive: true })
    })
  }

  test('with options that do not exist or make no sense', async () => {
    for (const args of [
      ['--prot', '1'],
      ['--port', 'x'],
      ['--port', '70000'],
      ['--config', 'nowhere.json'],
      ['--host', 'nonsense.invalid'],
    ]) {
      const { code, output } = await refusalOf('node', [...cli, ...args])
      expect(code, args.join(' ')).toBe(1)
      expect(output).toContain(args[0] === '--config' ? 'nowhere.json' : args[0]!.slice(2))
      expect(output).not.toContain('token')
    }
  })
})
