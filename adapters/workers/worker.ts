import { isUpgrade } from '../server.ts'
import { type Bindings, gatewayOf } from './made.ts'
import { accept } from './relay.ts'
import { homeHeader, Session } from './session.ts'
import { Store } from './store.ts'

export { Session, Store }

const worker: { fetch(request: Request, bindings: Bindings): Promise<Response> } = {
  async fetch(request, bindings) {
    const one = gatewayOf(bindings)
    if (!('gateway' in one)) return one.refuse(request)
    const at = (id: string, asked: Request): Promise<Response> => {
      return bindings.SESSIONS.get(bindings.SESSIONS.idFromName(id)).fetch(asked)
    }
    if (!isUpgrade(request)) {
      const place = await one.gateway.placeOf(request)
      if (place instanceof Response) return place
      return place.home === undefined ? one.gateway.fetch(place.request) : at(place.home, place.request)
    }
    // Asked here first, so that a refusal wakes no object; the object asks again for itself.
    const granted = await one.gateway.upgrade(request)
    if (granted instanceof Response) return granted
    if ('serve' in granted.start) return accept(granted)
    const { wire, id } = granted.start
    const asked = wire === 'base' ? null : new URL(request.url).searchParams.get('session')
    const response = await at(asked && isHome.test(asked) ? asked : id, request)
    const other = response.status === 421 ? response.headers.get(homeHeader) : null
    return other ? at(other, request) : response
  },
}

const isHome = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export default worker
