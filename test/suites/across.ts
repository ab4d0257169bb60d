import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { at, chat, ended, ledger, newKey, upstream } from '../client.ts'
import { root } from '../launch.ts'
import type { Target } from '../target.ts'
import type { Control } from '../upstream/control.ts'
import { item, open, textOf, truth } from './run-kit.ts'

const taken = 20
const asked: Control = { interval: 20, events: 60, comments: true, crlf: true }
const blankLine = /(?<=\r\n\r\n)/

/** SIGKILL, as to a device that is switched off. */
async function kill(client: ChildProcess): Promise<void> {
  const exit = once(client, 'exit')
  client.kill('SIGKILL')
  expect(await exit).toEqual([null, 'SIGKILL'])
}

/** A client on a socket, in its own process, that is killed once it has `taken` events. */
async function beginOnSocket(target: Target, control: Control): Promise<{ runId: string; had: string }> {
  const words = [join(root, 'test/leaver.ts'), at(target), JSON.stringify(item(control))]
  const client = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const told: string[] = []
  for await (const line of createInterface(client.stdout)) {
    told.push(JSON.parse(line) as string)
    if (told.length > taken) break
  }
  await kill(client)
  const [runId = '', ...events] = told
  return { runId, had: events.join('') }
}

/** Curl, and what became of it. */
async function curl(...words: string[]): Promise<{ code: number; bytes: string }> {
  const client = spawn('curl', ['-sN', ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [bytes, [code]] = await Promise.all([buffer(client.stdout), once(client, 'exit')])
  return { code: code as number, bytes: bytes.toString() }
}

/** Curl that asks for a run, and is killed in the middle of it: the whole events it had. */
async function beginWithCurl(target: Target, control: Control): Promise<{ runId: string; had: string[] }> {
  const headers = { ...upstream(control), 'cf-aig-on-disconnect': 'detach' }
  const words = Object.entries({ ...headers, 'content-type': 'application/json' }).flatMap(
    ([name, value]) => ['-H', `${name}: ${value}`],
  )
  const body = JSON.stringify(chat('héllo wörld', { stream: true }))
  const url = at(target, '/openai/chat/completions')
  const client = spawn('curl', ['-sNi', ...words, '-d', body, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const part of client.stdout.setEncoding('utf8')) {
    text += part
    if (text.split(blankLine).length > taken + 2) break
  }
  await kill(client)
  const [head = '', ...blocks] = text.split(blankLine)
  const runId = /^cf-aig-run-id: (.+)\r$/im.exec(head)?.[1] ?? ''
  return { runId, had: blocks.filter((block) => block.endsWith('\r\n\r\n')) }
}

/** PROTOCOL.md, "Runs over HTTP": what one client began, another finishes, over whatever it has. */
export function acrossSuite(target: Target): void {
  test('a client on a socket is killed after 20 events, and curl reads the rest', async () => {
    const key = newKey()
    const { runId, had } = await beginOnSocket(target, { ...asked, key })
    const rest = await curl(at(target, `/run/${runId}/resume?from=${taken}`))
    expect(rest.code).toBe(0)
    expect(had + rest.bytes).toBe(await truth(target, asked))
    expect(had.split(blankLine)).toHaveLength(taken)
    expect(await ledger(target, key)).toMatchObject([{ how: 'finished' }])
  })

  test('curl is killed in the middle, and a client on a socket reads the rest', async () => {
    const key = newKey()
    const { runId, had } = await beginWithCurl(target, { ...asked, key })
    const line = await open(target)
    line.send({ type: 'universal.resume', runId, eventId: 'taken', from: had.length, raw: true })
    const frames = await line.result('taken')
    expect(frames.at(-1)?.metadata).toMatchObject({ runId, outcome: 'completed' })
    expect(had.join('') + textOf(frames)).toBe(await truth(target, asked))
    expect(had.length).toBeGreaterThanOrEqual(taken)
    expect(await ledger(target, key)).toMatchObject([{ how: 'finished' }])
    line.close()
  })

  test('curl fails where the provider has broken off what a client on a socket began', async () => {
    const key = newKey()
    const { runId, had } = await beginOnSocket(target, { ...asked, key, reset: 40 })
    const rest = await curl(at(target, `/run/${runId}/resume?from=${taken}`))
    expect(rest.code).not.toBe(0)
    const all = had + rest.bytes
    expect((await truth(target, asked)).startsWith(all)).toBe(true)
    expect(all.split(blankLine)).toHaveLength(80) // a comment and an event each
    expect(await ended(target, key)).toMatchObject({ how: 'reset' })
  })
}
