// SPDX-License-Identifier: Apache-2.0
/**
 * What INIT and the end of a session need of a DAX window; its ranges are the data plane's (native/window/window.h). Called on
 * queue threads, possibly on several at once. Results are 0 or `-errno`.
 */
export interface SessionWindow {
  /** Window size in bytes, 0 where there is none. */
  readonly size: number
  /**
   * Makes the window itself visible to the guest: called on FUSE_INIT, before its reply. Blocks until the frontend's
   * memory table holds the window, so that a guest never reads a window that is not there.
   */
  start(): number
  /** Drops every mapping: INIT, DESTROY, device reset, disconnect. */
  reset(): void
}
