import * as z from 'zod'
import { ManageError, paging } from './answer.ts'
import { type Route, route, toTime } from './route.ts'

const entry = z.strictObject({
  revision: z.int(),
  created_at: z.iso.datetime(),
  principal: z.string(),
  action: z.string(),
  target: z.string(),
  gateway_id: z.string().nullable(),
  fields: z.array(z.string()),
})

/** Who changed what. */
export const auditRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/audit',
    summary: 'List changes, newest first',
    query: z.strictObject(paging),
    result: z.array(entry),
    async handle({ desk, query: { page, per_page } }) {
      const { settings } = desk
      if (!settings) throw new ManageError('unavailable')
      const [entries, total_count] = await Promise.all([
        settings.store.audit({ limit: per_page, offset: (page - 1) * per_page }),
        settings.store.auditCount(),
      ])
      const result = entries.map(({ created_at, ...rest }) => ({ ...rest, created_at: toTime(created_at) }))
      return { result, info: { page, per_page, count: result.length, total_count } }
    },
  }),
]
