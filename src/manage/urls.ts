import * as z from 'zod'
import { ManageError } from './answer.ts'
import { type Route, route } from './route.ts'

/** Where a gateway is called. */
export const urlRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/gateways/{gateway}/url/{provider}',
    summary: 'Get the base URL of a provider',
    result: z.url(),
    async handle({ desk, request, params: { gateway, provider = '' } }) {
      if (provider !== 'universal' && provider !== 'compat' && !desk.rooms.providers.get(provider))
        throw new ManageError('not_found', 'No such provider')
      const base = `${new URL(request.url).origin}/v1/${desk.config.account_id}/${gateway}`
      return { result: provider === 'universal' ? base : `${base}/${provider}` }
    },
  }),
]
