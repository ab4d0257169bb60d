import list from '../src/observe/prices.json' with { type: 'json' }
import type { PriceList } from '../src/observe/prices.ts'
import { type CreatePricing, createPricing } from '../src/observe/pricing.ts'

/** List prices of the providers' models, with their day. */
export const prices: PriceList = list

/** What answers cost, by that list and the operator's own prices. */
export const pricing: CreatePricing = (find) => createPricing(prices, find)
