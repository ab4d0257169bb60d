import type { Change, ConfigStore, Stored, StoredGateway, StoredToken } from '../../../src/store/config.ts'
import { oddTexts, type StoreTest, same } from './kit.ts'

const entry = {
  created_at: 1_700_000_000_000,
  principal: 'ada',
  action: 'create',
  target: 'gateways/a',
  gateway_id: 'a',
  fields: ['id'],
}

const gateway = (id: string, more: Partial<StoredGateway> = {}): StoredGateway => ({
  id,
  settings: { id, cors_origins: [] },
  created_at: 1,
  modified_at: 2,
  ...more,
})

const token = (id: string, name = id): StoredToken => ({
  id,
  name,
  digest: `digest of ${id}`,
  permissions: ['run', 'edit'],
  gateways: null,
  rates: {},
  created_at: 1_700_000_000_000,
  expires_at: null,
})

const putGateway = (id: string): Change => ({ kind: 'gateway', put: gateway(id) })
const ids = ({ gateway: rows }: Stored): string[] => rows.map(({ id }) => id)

/** What every store of the configuration promises. */
export const configTests: readonly StoreTest<ConfigStore>[] = [
  {
    name: 'is empty at revision 0',
    async run(store) {
      same(await store.revision(), 0)
      same(await store.read(), { revision: 0, gateway: [], token: [], key: [], provider: [] })
      same(await store.audit({ limit: 10, offset: 0 }), [])
      same(await store.auditCount(), 0)
    },
  },
  {
    name: 'keeps what was put, of every kind, and counts revisions by one',
    async run(store, open) {
      const key = {
        id: 'k',
        gateway_id: 'a',
        provider_slug: 'openai',
        alias: 'default',
        default_config: true,
        secret: { kid: 'k1', iv: 'aXY=', data: 'ZGF0YQ==' },
        secret_preview: 'sk-…',
        created_at: 1,
        modified_at: 1,
      }
      const provider = {
        id: 'p',
        slug: 'lab',
        name: 'Lab',
        base_url: 'http://10.0.0.7',
        enable: true,
        headers: null,
        header_names: [],
        shown: { position: 3 },
        created_at: 1,
        modified_at: 1,
      }
      const changes: Change[] = [
        putGateway('a'),
        { kind: 'token', put: token('t') },
        { kind: 'key', put: key },
        { kind: 'provider', put: provider },
      ]
      same(await store.change(0, changes, entry), true)
      const expected = {
        revision: 1,
        gateway: [gateway('a')],
        token: [token('t')],
        key: [key],
        provider: [provider],
      }
      same(await store.read(), expected)
      same(await (await open()).read(), expected)
      same(await store.change(1, [putGateway('b')], entry), true)
      same(await store.revision(), 2)
    },
  },
  {
    name: 'replaces and removes; ids of different kinds are apart; what is not there is removed in peace',
    async run(store) {
      await store.change(0, [putGateway('x'), { kind: 'token', put: token('x') }], entry)
      await store.change(1, [{ kind: 'gateway', put: gateway('x', { modified_at: 9 }) }], entry)
      same((await store.read()).gateway, [gateway('x', { modified_at: 9 })])
      await store.change(
        2,
        [
          { kind: 'gateway', remove: 'x' },
          { kind: 'gateway', remove: 'y' },
        ],
        entry,
      )
      const { gateway: gateways, token: tokens } = await store.read()
      same(gateways, [])
      same(tokens, [token('x')])
    },
  },
  {
    name: 'refuses a change whose base is no longer the revision, whole',
    async run(store) {
      await store.change(0, [putGateway('a')], entry)
      same(await store.change(0, [putGateway('b')], entry), false)
      same(await store.change(5, [putGateway('c')], entry), false)
      same(ids(await store.read()), ['a'])
      same(await store.auditCount(), 1)
    },
  },
  {
    name: 'of changes made at once, through two openings, one per revision is made',
    async run(store, open) {
      const other = await open()
      const made = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          (index % 2 ? store : other).change(0, [putGateway(`g${index}`)], entry),
        ),
      )
      same(made.filter(Boolean).length, 1)
      same(ids(await store.read()).length, 1)
      same(await other.revision(), 1)
    },
  },
  {
    name: 'notes what changes nothing here, each at a revision of its own, however many at once',
    async run(store, open) {
      const other = await open()
      same(await store.change(0, [putGateway('a')], entry), true)
      const noted = Array.from({ length: 20 }, (_, index) =>
        (index % 2 ? store : other).note({ ...entry, action: 'log.update', gateway_id: null, fields: [] }),
      )
      await Promise.all(noted)
      same(await other.revision(), 21)
      same(ids(await store.read()), ['a'])
      const trail = await store.audit({ limit: 100, offset: 0 })
      same(
        trail.map(({ revision }) => revision),
        Array.from({ length: 21 }, (_, index) => 21 - index),
      )
      const expected = { ...entry, action: 'log.update', gateway_id: null, fields: [], revision: 21 }
      same(trail[0], expected)
      same(await store.change(20, [putGateway('b')], entry), false)
      same(await store.change(21, [putGateway('b')], entry), true)
    },
  },
  {
    name: 'is made by two at once, at their first use',
    async run(store, open) {
      const other = await open()
      same(await Promise.all([store.revision(), other.revision()]), [0, 0])
    },
  },
  {
    name: 'lists the audit trail newest first, in pages',
    async run(store) {
      for (let revision = 0; revision < 5; revision += 1)
        await store.change(revision, [], { ...entry, action: `step ${revision}`, gateway_id: null })
      same(await store.auditCount(), 5)
      const page = await store.audit({ limit: 2, offset: 1 })
      same(page, [
        { ...entry, action: 'step 3', gateway_id: null, revision: 4 },
        { ...entry, action: 'step 2', gateway_id: null, revision: 3 },
      ])
      same(await store.audit({ limit: 2, offset: 9 }), [])
    },
  },
  {
    name: 'gives odd texts back as they were, in ids, bodies and the audit trail',
    async run(store) {
      const changes = oddTexts.map((text, index): Change => {
        return { kind: 'token', put: token(`${index} ${text}`, text) }
      })
      same(await store.change(0, changes, { ...entry, principal: oddTexts[3]!, fields: oddTexts }), true)
      const { token: tokens } = await store.read()
      same(new Map(tokens.map(({ id, name }) => [id, name])).size, oddTexts.length)
      for (const [index, text] of oddTexts.entries())
        same(tokens.find(({ id }) => id === `${index} ${text}`)?.name, text, `text ${index}:`)
      const [last] = await store.audit({ limit: 1, offset: 0 })
      same(last?.fields, oddTexts)
      same(last?.principal, oddTexts[3])
      await store.change(
        1,
        tokens.map(({ id }): Change => ({ kind: 'token', remove: id })),
        entry,
      )
      same((await store.read()).token, [])
    },
  },
  {
    name: 'holds a thousand records',
    async run(store) {
      const changes = Array.from({ length: 1_000 }, (_, index) =>
        putGateway(`g${String(index).padStart(4, '0')}`),
      )
      same(await store.change(0, changes, entry), true)
      const read = ids(await store.read())
      same(read.length, 1_000)
      same([read[0], read[999]], ['g0000', 'g0999'])
    },
  },
]
