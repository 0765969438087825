// SPDX-License-Identifier: Apache-2.0
/** What the addon's `testing` object holds: frontend.cc. */

/** Unless said otherwise, a call returns `-errno` where it fails, and descriptors belong to the caller. */
export interface TestingFrontend {
  /** A memfd of `sizeBytes`, which may be sealed. */
  memfdCreate(name: string, sizeBytes: number): number
  /** A shared mapping of at most 4 GiB, which stays until `unmap`. Throws where mmap(2) fails. */
  map(fd: number, offsetBytes: number, lengthBytes: number, writable: boolean): ArrayBuffer
  /** Detaches what `map` returned and unmaps it. */
  unmap(memory: ArrayBuffer): number
  /** A new non-blocking eventfd. */
  eventfd(): number
  /** Adds 1. */
  eventfdWrite(fd: number): number
  /** Takes the count; -EAGAIN where it is 0. */
  eventfdRead(fd: number): number
  /** Waits until one of `fds` is readable or closed; returns how many are, `revents[i]` says which. */
  poll(fds: Int32Array, revents: Int16Array, timeoutMs: number): number
  connectUnix(path: string): number
  /** A second descriptor for the same open file. */
  duplicateFd(fd: number): number
  /** Two connected stream sockets that do not wait. Throws where socketpair(2) fails. */
  socketPair(): [number, number]
  /** One sendmsg(2) with up to 64 descriptors, which stay the caller's too; returns bytes sent. */
  sendMessage(fd: number, bytes: Uint8Array, fds: Int32Array): number
  /** One recvmsg(2) that does not wait; received descriptors are pushed to `fds`. Returns bytes, 0 at the end. */
  receiveMessage(fd: number, bytes: Uint8Array, fds: number[]): number
  /**
   * Copies out of a mapping by way of the kernel: a page that can't be read ends the copy instead of the process.
   * Returns bytes copied, -EFAULT where the first one fails.
   */
  guardedRead(memory: ArrayBuffer, offsetBytes: number, into: Uint8Array): number
  /** The same in the other direction. */
  guardedWrite(memory: ArrayBuffer, offsetBytes: number, from: Uint8Array): number
  /** lsetxattr(2). */
  setXattr(path: string, name: string, value: Uint8Array): number
  /** lgetxattr(2). */
  getXattr(path: string, name: string, value: Uint8Array): number
}
