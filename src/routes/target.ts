/** Where a pass-through request goes. */
export interface Target {
  readonly slug: string
  /** As the client wrote it, still percent-encoded, without its leading slash. */
  readonly path: string
  /** Empty, or with its question mark. */
  readonly search: string
}
