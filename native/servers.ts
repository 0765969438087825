// SPDX-License-Identifier: Apache-2.0
/**
 * A server's relation to the ones before and after it, where a first process starts another one when one has been ended by a signal
 * (native/sandbox/launcher/servers.h). All throw Node-style errors.
 */
import type { SharedDirectoryId } from './file-system.ts'

/** What the main thread knows of a frontend; see DeviceControl. */
export interface FrontendState {
  /** The connection's descriptor. */
  readonly connection: number
  readonly protocolFeatures: bigint
  readonly lastQueue: number
  readonly windowPossible: boolean
  readonly windowActive: boolean
  /** From `stageReply`. */
  readonly repliesEnd: number
}

export interface NativeServers {
  /** Maps the state that outlives a server. Before the device and the directory are made. @throws EPROTO where it is another version's */
  readonly open: (state: number, queueCount: number) => void
  /** Starts the process that has this one's descriptors when it has ended; before the sandbox's doors. `channel` must stay open. */
  readonly startKeeper: (channel: number) => void
  /** From here on descriptors get numbers that a successor has free. */
  readonly reserveOwnNumbers: () => void
  /**
   * Gets what a predecessor's frontend has given it, from its keeper.
   * @returns the descriptor of the tables, -1 where there are none
   */
  readonly take: (keeper: number) => number
  /** Tells the first process that nothing more is needed of the predecessor, whose keeper ends. @param predecessor the channel to it, or -1 */
  readonly sayTaken: (channel: number, predecessor: number) => void
  /** Asks the first process for what SIGHUP asks it for. */
  readonly askForUpgrade: (channel: number) => void
  /** Whether this program can go on with a state, as far as its version tells. */
  readonly canSucceed: (state: number) => boolean
  /** Ends this process by SIGKILL, so that the first process starts the next. */
  readonly endForSuccessor: () => never
  /** What the session has agreed to that the calling thread is about to begin, by `publishPolicy`. */
  readonly noteSession: (words: readonly number[]) => void
  /** Puts the predecessor's policy in force. @returns what was noted with it; undefined where there was no session */
  readonly restoreSession: (directory: SharedDirectoryId) => readonly number[] | undefined
  /** @returns where the replies end with this one, which is sent by `sendReplies`, even if a successor has to */
  readonly stageReply: (bytes: Uint8Array) => number
  /** @returns 0 or `-errno` */
  readonly sendReplies: (connection: number) => number
  /** Sends what a predecessor had staged and not sent, unless its message waits to be served again. @param end from its record */
  readonly resumeReplies: (connection: number, end: number) => void
}
