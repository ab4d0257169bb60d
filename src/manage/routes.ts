import { auditRoutes } from './audit.ts'
import { gatewayRoutes } from './gateways.ts'
import { logRoutes } from './logs.ts'
import type { Route } from './route.ts'
import { tokenRoutes } from './tokens.ts'
import { urlRoutes } from './urls.ts'

/** The whole API: its rooms serve it, and its description is made from it. */
export const routes: readonly Route[] = [
  ...gatewayRoutes,
  ...logRoutes,
  ...urlRoutes,
  ...tokenRoutes,
  ...auditRoutes,
]
