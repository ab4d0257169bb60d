import type { Given } from '../src/index.ts'
import { assemble } from '../src/observe/assemble/assemble.ts'
import { providers } from '../src/providers/table.ts'
import { compat } from '../src/routes/compat.ts'
import { pricing } from './prices.ts'

/** What every deployment of ours has beside the core, and needs no store. */
export const parts: Given = { providers, compat, pricing, assemble }
