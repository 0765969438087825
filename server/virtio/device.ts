// SPDX-License-Identifier: Apache-2.0
/** The main thread's virtio device: the native object, and waiting for queue threads to let go of a ring. */
import { DeviceControl, drainEventFd, FdWatcher } from '../../native/index.ts'

export class VirtioDevice {
  readonly control: DeviceControl
  readonly queueCount: number
  /** Called when a ring lied and was stopped. */
  onBrokenRing: (queue: number, reason: string) => void = () => {}
  /** Called with the bytes of a request that was refused because server after server has crashed with it. */
  onDeadlyRequest: (request: Uint8Array) => void = () => {}
  readonly #watcher: FdWatcher
  #waiters: (() => void)[] = []
  readonly #running = new Set<number>()

  /** @param poolThreads for requests that wait for the host; 0: they are served on their queue's thread */
  constructor(queueCount: number, poolThreads: number) {
    this.queueCount = queueCount
    this.control = new DeviceControl(queueCount, poolThreads)
    this.#watcher = new FdWatcher(this.control.quiescedFd, () => this.#quiesced())
    this.#watcher.arm()
  }

  /** Rings that have been started and not been stopped. */
  get runningQueues(): number {
    return this.#running.size
  }

  /** These run already. */
  noteRunning(queues: readonly number[]): void {
    for (const queue of queues) this.#running.add(queue)
  }

  /** @param kick is owned by the device from now on */
  startQueue(queue: number, kick: number): void {
    this.control.setVringKick(queue, kick)
    this.#running.add(queue)
  }

  /**
   * Stops a ring after the request that is being served.
   * @returns the ring's next available index
   */
  async stopQueue(queue: number): Promise<number> {
    while (!this.control.requestStop(queue)) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
    this.#running.delete(queue)
    return this.control.finishStop(queue)
  }

  async stopAllQueues(): Promise<void> {
    // Ask all of them first: one may be waiting for what another stop interrupts.
    await Promise.all(Array.from({ length: this.queueCount }, (_, queue) => this.stopQueue(queue)))
  }

  /** Ends the queue threads' loops and this object's watching. */
  close(): void {
    this.control.destroy()
    this.#watcher.close()
  }

  #quiesced(): void {
    drainEventFd(this.control.quiescedFd)
    for (let queue = 0; queue < this.queueCount; queue++) {
      const reason = this.control.brokenReason(queue)
      if (reason !== undefined) this.onBrokenRing(queue, reason)
    }
    for (const request of this.control.takeDeadly()) this.onDeadlyRequest(request)
    for (const resolve of this.#waiters.splice(0)) resolve()
    this.#watcher.arm()
  }
}
