import type { PriceList } from '../src/index.ts'
import list from '../src/observe/prices.json' with { type: 'json' }

/** List prices of the providers' models, with their date. */
export const prices: PriceList = list
