import { inject } from 'vitest'
import { gatewaySuites } from '../suites/index.ts'

gatewaySuites(inject('targets').deno, 'deno')
