// SPDX-License-Identifier: Apache-2.0
/** Types of the addon's sockets and watchers; the values are exported by index.ts. */

/** Calls back on this thread when a descriptor becomes readable, once per `arm`; and once when it hangs up, armed or not. */
export interface FdWatcher {
  arm(): void
  /** Ends the watching; the descriptor stays the caller's and must outlive this call. Until then the process stays up. */
  close(): void
}

export type FdWatcherConstructor = new (fd: number, callback: () => void) => FdWatcher

export interface UnixSockets {
  /**
   * A listening socket at `path` that only the owner can connect to, and the group with id `group` if given. A
   * socket left there by a dead process is replaced.
   * @returns a descriptor owned by the caller
   * @throws EADDRINUSE, EACCES, ENAMETOOLONG …
   */
  readonly listenUnix: (path: string, group?: number) => number
  /**
   * A listening TCP socket at an address, IPv4 or IPv6, which is no name.
   * @returns a descriptor owned by the caller
   * @throws EINVAL for a name; EADDRINUSE, EADDRNOTAVAIL, EACCES …
   */
  readonly listenTcp: (host: string, port: number) => number
  /**
   * Prepares an inherited descriptor for `acceptUnix`; it stays the caller's.
   * @throws EBADF, ENOTSOCK; EINVAL for a socket that does not listen
   */
  readonly adoptListener: (fd: number) => void
  /** @returns the id of a group of the system's data base, -1 where there is none of that name */
  readonly groupId: (name: string) => number
  /** Connects to the system log, once per process; never fails: what can't be delivered is lost. */
  readonly openSystemLog: (name: string) => void
  /** @param priority LOG_EMERG (0) to LOG_DEBUG (7) */
  readonly writeSystemLog: (priority: number, message: string) => void
  /** Connects to a datagram socket, which then does not wait. @returns a descriptor owned by the caller, or `-errno` */
  readonly connectDatagram: (path: string) => number
  /** Of any stream socket. @returns a descriptor owned by the caller, or `-errno`: -EAGAIN where nobody waits */
  readonly acceptUnix: (fd: number) => number
  /**
   * Receives into `buffer` without waiting and appends descriptors, then owned by the caller, to `fds`.
   * @returns bytes, 0 at the end of the stream, or `-errno`
   */
  readonly receiveWithFds: (fd: number, buffer: Uint8Array, offset: number, length: number, fds: number[]) => number
  /**
   * The first bytes of what the socket has, and copies of the descriptors with them, which stay there, too.
   * @param fds left out: only bytes
   * @returns bytes, 0 at the end of the stream, or `-errno`
   */
  readonly peekWithFds: (fd: number, buffer: Uint8Array, length: number, fds?: number[]) => number
  /** Takes so many bytes from a socket that has them, and the descriptors with them. */
  readonly skipBytes: (fd: number, length: number) => void
  /** @returns bytes sent or `-errno`; `fds` stay the caller's */
  readonly sendWithFds: (fd: number, buffer: Uint8Array, fds: readonly number[]) => number
  /**
   * Writes this process's id to a file and locks it.
   * @returns a descriptor that holds the lock, owned by the caller
   * @throws EAGAIN where another process holds the lock
   */
  readonly lockPidFile: (path: string) => number
  /** Ends the process without waiting for threads; nothing buffered is written. */
  readonly exitNow: (code: number) => never
}
