import { describe, expect, test } from 'vitest'
import type { RuntimeName } from '../launch.ts'
import type { Target } from '../target.ts'
import { acrossSuite } from './across.ts'
import { authSuite } from './auth.ts'
import { breaksSuite } from './breaks.ts'
import { cacheSuite } from './cache.ts'
import { cancelSuite } from './cancel.ts'
import { clientsSuite } from './clients.ts'
import { compatSuite } from './compat.ts'
import { compatClientsSuite } from './compat-clients.ts'
import { edgeSuite } from './edge.ts'
import { fairnessSuite } from './fairness.ts'
import { httpSuite } from './http.ts'
import { limitsSuite } from './limits.ts'
import { lineSuite } from './line.ts'
import { manageSuite } from './manage.ts'
import { propertySuite } from './property.ts'
import { readersSuite } from './readers.ts'
import { realtimeSuite } from './realtime.ts'
import { realtimeClientsSuite } from './realtime-clients.ts'
import { realtimeEdgesSuite } from './realtime-edges.ts'
import { realtimeRecordsSuite } from './realtime-records.ts'
import { runsSuite } from './runs.ts'
import { sessionTokensSuite } from './session-tokens.ts'
import { socketSuite } from './socket.ts'
import { universalSuite } from './universal.ts'
import { usageSuite } from './usage.ts'

/** Everything the gateway promises, on one runtime. */
export function gatewaySuites(target: Target | undefined, runtime: RuntimeName): void {
  describe(runtime, () => {
    if (!target) return test('runs', () => expect(target, `${runtime} was not started`).toBeDefined())
    describe('http', () => httpSuite(target))
    describe('universal', () => universalSuite(target))
    describe('auth', () => authSuite(target))
    describe('socket', () => socketSuite(target))
    describe('edge', () => edgeSuite(target))
    describe('cancel', () => cancelSuite(target))
    describe('breaks', () => breaksSuite(target))
    describe('cache', () => cacheSuite(target))
    describe('limits', () => limitsSuite(target))
    describe('realtime', () => realtimeSuite(target))
    describe('realtime edges', () => realtimeEdgesSuite(target))
    describe('realtime clients', () => realtimeClientsSuite(target))
    describe('realtime records', () => realtimeRecordsSuite(target))
    describe('session tokens', () => sessionTokensSuite(target))
    describe('manage', () => manageSuite(target))
    describe('usage', () => usageSuite(target))
    describe('runs', () => runsSuite(target))
    describe('readers', () => readersSuite(target))
    describe('across transports', () => acrossSuite(target))
    describe('fairness', () => fairnessSuite(target))
    describe('whatever happens', () => propertySuite(target))
    describe('line', () => lineSuite(target))
    describe('clients', () => clientsSuite(target))
    describe('compat', () => compatSuite(target))
    describe('compat clients', () => compatClientsSuite(target))
  })
}
