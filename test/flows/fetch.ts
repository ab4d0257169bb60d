import { check, type Flow, faultOf, told } from './kit.ts'

/** What users of `fetch` rely on beside status, headers and bytes. */
export const fetchFlows: Flow[] = [
  {
    name: 'fetch: responses and their clones know their URL, without its fragment',
    async run({ url, fetch }) {
      const asked = `${url('openai')}/models?a=1`
      const response = await fetch(`${asked}#part`)
      const clone = response.clone()
      check(response.url === asked && clone.url === asked && clone.clone().url === asked, clone.url)
      check(!response.redirected && (await clone.text()) === (await response.text()), 'the clone')
    },
  },
  {
    name: 'fetch: bodies are read into buffers of the reader',
    async run({ url, fetch }) {
      for (const size of [0, 1, 300_000]) {
        const { body } = await fetch(`${url('openai')}/x`, { headers: told({ bytes: size }) })
        const reader = body?.getReader({ mode: 'byob' })
        let count = 0
        for (;;) {
          const { done, value } = (await reader?.read(new Uint8Array(7_001))) ?? { done: true }
          if (done) break
          check(value?.every((byte, index) => byte === ((count + index) & 255)) === true, count)
          count += value?.length ?? 0
        }
        check(count === size, [count, size])
      }
    },
  },
  {
    name: 'fetch: a redirect is an error to whoever wants it to be one',
    async run({ url, fetch }) {
      const headers = told({ redirect: '/elsewhere' })
      const fault = await faultOf(fetch(`${url('openai')}/x`, { headers, redirect: 'error' }))
      check(fault instanceof TypeError, fault)
    },
  },
  {
    name: 'fetch: a path that cannot be decoded is the gateway’s to judge',
    async run({ url, fetch }) {
      check((await fetch(`${url('x').slice(0, -1)}%zz/x`)).status === 400, 'an unknown provider')
    },
  },
]
