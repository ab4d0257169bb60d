import { analyticsRoutes } from './analytics.ts'
import { auditRoutes } from './audit.ts'
import { gatewayRoutes } from './gateways.ts'
import { keyRoutes } from './keys.ts'
import { logRoutes } from './logs.ts'
import { providerRoutes } from './providers.ts'
import type { Route } from './route.ts'
import { tokenRoutes } from './tokens.ts'
import { urlRoutes } from './urls.ts'

/** The whole API: its rooms serve it, and its description is made from it. */
export const routes: readonly Route[] = [
  ...gatewayRoutes,
  ...logRoutes,
  ...analyticsRoutes,
  ...keyRoutes,
  ...providerRoutes,
  ...urlRoutes,
  ...tokenRoutes,
  ...auditRoutes,
]
