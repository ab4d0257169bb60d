/** The whole of undici takes a tenth of a second to load; what is used here is a part of it. */
declare module 'undici/lib/dispatcher/agent.js' {
  import { Agent } from 'undici'

  export default Agent
}
