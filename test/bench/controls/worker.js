/** The least a gateway on Workers can be. */
export default {
  fetch(request, { UPSTREAM }) {
    return fetch(UPSTREAM + new URL(request.url).pathname, request)
  },
}
