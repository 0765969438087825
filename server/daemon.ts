// SPDX-License-Identifier: Apache-2.0
/**
 * Wires the parts and owns the life cycle: listen, serve one frontend, and after it the next (--keep-listening) or the
 * end.
 *
 * Threads: this one (the main thread) answers the frontend's messages and never blocks; each QueueWorker thread serves
 * one or two rings. They share the native device, the file system's tables and a few SharedArrayBuffers.
 */
import { readFileSync, unlinkSync } from 'node:fs'
import { resolve as resolvePath } from 'node:path'
import { Worker } from 'node:worker_threads'
import {
  acceptUnix,
  addonPath,
  exitNow,
  FdWatcher,
  forgetMount,
  type ForgottenMount,
  viewRanges,
  rangesWantedAgain,
  windowFiles,
} from '../native/index.ts'
import { controlProtocol, type ControlSubject, metricsText } from './control/control-protocol.ts'
import {
  type FilesReport,
  filesReport,
  hottest,
  MOST_FILES,
  MOST_RANGES,
  ROOT_NODEID,
  WINDOW_PARTS,
} from './control/files.ts'
import { latenciesOf } from './control/latencies.ts'
import { metricsProtocol } from './control/metrics-protocol.ts'
import { PeerServer } from './control/peer-server.ts'
import { type ActiveRequest, activeRequest, sessionStatus, type Status } from './control/status.ts'
import { SinkReport } from './dax/sink-report.ts'
import { SmallWindowReport } from './dax/small-window-report.ts'
import { explainUnviewable, unviewableBelow } from './dax/viewable.ts'
import { attachWindow, planWindow, type WindowPlan, type WindowSpec, windowSpec } from './dax/window.ts'
import { WindowState } from './dax/window-state.ts'
import { FuseCounters } from './fuse/counters.ts'
import { FuseSession } from './fuse/session.ts'
import { openListener, socketFiles } from './listener.ts'
import { type Logger, LogLevelCell, type LogOptions } from './log.ts'
import { collectMetrics, type Metrics } from './metrics.ts'
import type { Options } from './options.ts'
import { programVersion } from './program-info.ts'
import type { QueueWorkerData } from './queue-worker.ts'
import { closeDoors } from './sandbox/doors.ts'
import type { Launched } from './sandbox/launch.ts'
import { explainLabels } from './passthrough/security-label.ts'
import { DeviceStateTransfer } from './migration/state-transfer.ts'
import { openSharedDirectory, type SharedDirectory, shareDirectory } from './shared-directory.ts'
import { qemuCommand } from './start-qemu.ts'
import { StuckRequests, WATCH_MS } from './stuck-requests.ts'
import { type LeftFrontend, Succession } from './succession.ts'
import type { PassthroughFileSystem } from './passthrough/passthrough-file-system.ts'
import { BackendRequestHandler } from './vhost-user/backend-request-handler.ts'
import { Connection } from './vhost-user/connection.ts'
import {
  lacksMemorySlots,
  missingWindowFeatures,
  type OfferedParts,
  offeredProtocolFeatures,
} from './vhost-user/features.ts'
import { VhostUserError } from './vhost-user/message.ts'
import { VirtioDevice } from './virtio/device.ts'

/** How long the end waits for queue threads; one that is stuck in a system call does not hold up the process. */
const EXIT_PATIENCE_MS = 1000

export class Daemon {
  readonly #options: Options
  readonly #launched: Launched | undefined
  /** The queue threads' program: behind the sandbox's doors no file of ours can be read. */
  readonly #workerSource = readFileSync(new URL('queue-worker.cjs', import.meta.url), 'utf8')
  readonly #addonPath = addonPath()
  readonly #version = programVersion()
  /** As it was at the start; behind the doors the working directory is another. */
  readonly #socketPath: string
  readonly #log: Logger
  readonly #logOptions: LogOptions
  readonly #device: VirtioDevice
  readonly #plan: WindowPlan
  readonly #window: WindowSpec
  readonly #windowState: WindowState
  readonly #directory: SharedDirectory
  readonly #fileSystem: PassthroughFileSystem
  readonly #session = FuseSession.allocate()
  readonly #fuseCounters: SharedArrayBuffer[] = []
  /** Where another server goes on should a signal end this one. */
  readonly #succession: Succession | undefined
  /** By index; a queue's thread starts when a frontend first uses it, the first one when a frontend comes. */
  readonly #workers = new Map<number, Worker>()
  readonly #stuck: StuckRequests
  readonly #stateTransfer: DeviceStateTransfer
  /** While a frontend is connected. */
  #watch: NodeJS.Timeout | undefined
  #listener: { readonly fd: number; readonly watcher: FdWatcher } | undefined
  #connection: Connection | undefined
  /** Of the control socket and of --metrics, where there are such. */
  readonly #watchers: PeerServer[] = []
  /** Of performance.now(). */
  #connectedAt = 0
  #sinkReport: SinkReport | undefined
  #smallWindowReport: SmallWindowReport | undefined
  /** The connected frontend has all features of a window. */
  #windowPossible = false
  #ending = false

  /** @throws WindowUnavailableError, the shared directory's errors, or an Error that says why labels can't be kept */
  constructor(options: Options, log: Logger, logOptions: LogOptions, launched?: Launched) {
    this.#options = options
    this.#socketPath = resolvePath(options.socketPath ?? '')
    this.#launched = launched
    this.#log = log
    this.#logOptions = logOptions
    this.#stuck = new StuckRequests(log)
    const server = launched?.server
    const queues = 1 + options.requestQueues
    // Its memory comes first, then the device with its rings, which can be made before the doors alone.
    this.#succession = server === undefined ? undefined : new Succession(server, queues)
    this.#device = new VirtioDevice(queues, options.threadPoolSize)
    const view = server === undefined || server.view < 0 ? undefined : server.view
    this.#plan = planWindow(options.window, options.windowSizeBytes, options.faultPolicy, view)
    if (this.#succession?.succeeds === true && launched !== undefined) closeDoors(launched, options)
    const left = this.#succession?.succeeds === true ? this.#succession.take() : undefined
    this.#directory = shareDirectory(options, server?.share ?? launched?.root, left)
    this.#fileSystem = openSharedDirectory(this.#directory, this.#session, (message) =>
      log.warn({ event: 'share-warning' }, message),
    )
    const unlabelled =
      options.securityLabel === 'never' || left !== undefined ? undefined : explainLabels(this.#fileSystem)
    if (unlabelled !== undefined) throw new Error(unlabelled)
    this.#device.onBrokenRing = (queue, reason) =>
      log.error({ event: 'ring-broken', queue, reason }, 'a ring is broken and has been stopped')
    this.#stateTransfer = new DeviceStateTransfer(
      { device: this.#device, fileSystem: this.#fileSystem, session: this.#session },
      {
        mode: options.migrationMode,
        onError: options.migrationOnError,
        verifyHandles: options.migrationVerifyHandles,
      },
      log,
    )
    this.#device.onDeadlyRequest = (request) =>
      log.error(
        { event: 'request-deadly', request: Buffer.from(request).toString('hex') },
        'server after server has crashed with this request: it got EIO',
      )
    const state = WindowState.allocate()
    this.#windowState = new WindowState(state)
    this.#window = windowSpec(this.#plan, this.#device.control.id, this.#directory.id, state)
    attachWindow(this.#window)
    if (this.#plan.viewFd !== undefined) this.#device.control.addView(this.#plan.viewFd)
  }

  /** Starts to listen. @throws the socket's and the PID file's errors */
  start(): void {
    const { fd, control, metrics } =
      this.#launched === undefined
        ? openListener(this.#options)
        : {
            fd: this.#launched.listener,
            control: this.#launched.controlListener,
            metrics: this.#launched.metricsListener,
          }
    const succeeds = this.#succession?.succeeds === true
    const unviewable = this.#plan.kind === 'memory-view' && !succeeds ? this.#explainUnviewable() : undefined
    if (this.#launched !== undefined && !succeeds) closeDoors(this.#launched, this.#options)
    this.#succession?.reserve()
    this.#serveWatchers(control, metrics)
    const { view } = this.#plan
    if (view !== undefined)
      this.#sinkReport = new SinkReport(
        () => view.info(),
        (offset) => viewRanges.fileAt(this.#directory.id, offset),
        this.#log,
      )
    const { kind, sizeBytes } = this.#plan
    if (kind !== 'none')
      this.#smallWindowReport = new SmallWindowReport(() => rangesWantedAgain(this.#directory.id), sizeBytes, this.#log)
    this.#listener = { fd, watcher: new FdWatcher(fd, () => this.#accept()) }
    if (succeeds && this.#succeed()) return
    if (!succeeds) this.#succession?.serving()
    this.#listener.watcher.arm()
    this.#log.info(
      {
        event: 'window-chosen',
        window: this.#plan.kind,
        windowSize: this.#plan.sizeBytes,
        reason: this.#plan.reason,
        ...(this.#plan.kind === 'memory-view' ? { faultPolicy: this.#options.faultPolicy } : {}),
      },
      `window ${this.#options.window}: ${this.#plan.kind}, because ${this.#plan.reason}`,
    )
    if (unviewable !== undefined) this.#log.warn({ event: 'files-unviewable' }, unviewable)
    this.#sayWaiting()
  }

  /** @param control a socket that listens, or -1; so is `metrics` */
  #serveWatchers(control: number, metrics: number): void {
    const subject = this.#controlSubject()
    const wanted = this.#options.control?.path
    if (control >= 0) this.#watchers.push(new PeerServer(control, controlProtocol(subject, this.#log)))
    else if (wanted !== undefined)
      this.#log.info(
        { event: 'control-absent', control: wanted },
        'no control socket: it can not be made beside the socket',
      )
    if (metrics >= 0)
      this.#watchers.push(
        new PeerServer(
          metrics,
          metricsProtocol(() => metricsText(subject)),
        ),
      )
  }

  #controlSubject(): ControlSubject {
    const level = new LogLevelCell(this.#logOptions.level)
    return {
      status: () => this.#status(level.get()),
      requests: () => this.#activeRequests(),
      counters: () => this.#metrics(),
      latencies: () => latenciesOf(this.#device.control.latencies()),
      files: () => this.#files(),
      forget: (path) => this.#forget(path),
      upgrade: () => {
        this.#succession?.askForUpgrade()
        return this.#succession !== undefined
      },
      setLogLevel: (wished) => {
        level.set(wished)
        level.apply(this.#log)
      },
    }
  }

  #status(logLevel: string): Status {
    const { sharedDir, socketPath, tag, daxPolicy } = this.#options
    const now = performance.now()
    const connected = this.#connection !== undefined
    return {
      version: this.#version,
      uptimeSeconds: Math.floor(process.uptime()) + (this.#succession?.age ?? 0),
      sharedDir,
      socketPath: socketPath ?? null,
      tag: tag ?? null,
      frontend: { connected, connectedSeconds: connected ? Math.floor((now - this.#connectedAt) / 1000) : null },
      session: sessionStatus(new FuseSession(this.#session)),
      window: this.#metrics().window,
      daxPolicy,
      queueThreads: this.#workers.size,
      activeRequests: this.#device.control.requestsInProgress().length,
      servers: this.#succession?.history ?? null,
      logLevel,
    }
  }

  #forget(path: string): Promise<ForgottenMount | number> {
    // In any other window a range that goes stops the guest that touches it.
    const mayUnmap = this.#plan.kind === 'memory-view' && this.#options.faultPolicy === 'sink'
    return forgetMount(this.#directory.id, this.#device.control.id, path, mayUnmap)
  }

  async #activeRequests(): Promise<ActiveRequest[]> {
    const requests = this.#device.control.requestsInProgress()
    const now = Date.now()
    const nodeids = [...new Set([ROOT_NODEID, ...requests.map(({ nodeid }) => nodeid)])]
    const { files } = filesReport([], await windowFiles(this.#directory.id, nodeids, nodeids.length, 0, 0, 0), 0)
    const paths = new Map(files.map(({ nodeid, path }) => [nodeid, path]))
    return requests.map((each) => activeRequest(each, now, paths))
  }

  async #files(): Promise<FilesReport> {
    const hot = hottest(this.#device.control.hotInodes())
    const nodeids = new Set([ROOT_NODEID, ...hot.map(({ nodeid }) => nodeid)])
    const { id } = this.#directory
    const { sizeBytes } = this.#plan
    const contents = await windowFiles(id, [...nodeids], MOST_FILES, MOST_RANGES, sizeBytes, WINDOW_PARTS)
    return filesReport(hot, contents, sizeBytes)
  }

  #metrics(): Metrics {
    return collectMetrics(
      this.#device,
      this.#fuseCounters,
      this.#plan,
      this.#windowState.active,
      rangesWantedAgain(this.#directory.id),
    )
  }

  /** In a terminal, with what to do next. */
  #sayWaiting(): void {
    const { socketPath, tag } = this.#options
    const { form } = this.#logOptions
    if (socketPath === undefined || (form !== 'readable' && form !== 'coloured')) {
      this.#log.info({ event: 'waiting', socket: socketPath }, 'waiting for a frontend')
      return
    }
    const command = qemuCommand({ socketPath: this.#socketPath, window: this.#plan.kind !== 'none', tag })
    this.#log.info({ event: 'waiting' }, `waiting for a frontend: ${command}`)
  }

  #explainUnviewable(): string | undefined {
    const root = this.#launched?.root ?? -1
    return explainUnviewable(unviewableBelow(root >= 0 ? `/proc/self/fd/${root}` : this.#options.sharedDir))
  }

  /** SIGHUP: another program goes on with the guest, or the daemon ends. */
  hangUp(): void {
    if (this.#succession === undefined) {
      this.#log.info({ event: 'ending', signal: 'SIGHUP' }, 'ending')
      this.end(0)
      return
    }
    this.#log.info({ event: 'handing-over' }, 'the program that is installed now goes on')
    this.#succession.handOver(this.#device.control)
  }

  /** One log line with all counters. */
  logCounters(): void {
    this.#log.info({ event: 'counters', counters: this.#metrics() }, 'counters')
  }

  /** Ends the process with `code` after the threads have ended. */
  end(code: number): void {
    if (this.#ending) return
    this.#ending = true
    if (this.#listener !== undefined) {
      this.#listener.watcher.close()
      // Behind the doors paths mean other files than they did; the launcher removes it then.
      const behindDoors = this.#launched !== undefined && this.#launched.root >= 0
      if (!behindDoors) for (const path of socketFiles(this.#options)) removeIfThere(path)
    }
    for (const watcher of this.#watchers) watcher.close()
    this.#sinkReport?.close()
    this.#smallWindowReport?.close()
    this.#connection?.close()
    this.#device.close()
    const workersEnded = Promise.all(
      [...this.#workers.values()].map((worker) => new Promise<void>((resolve) => worker.once('exit', () => resolve()))),
    )
    const patience = new Promise<void>((resolve) => setTimeout(resolve, EXIT_PATIENCE_MS))
    void Promise.race([workersEnded, patience]).then(() => exitNow(code))
  }

  #startWorker(workerIndex: number): void {
    if (this.#workers.has(workerIndex)) return
    const counters = FuseCounters.allocate()
    this.#fuseCounters.push(counters)
    const data: QueueWorkerData = {
      addonPath: this.#addonPath,
      deviceId: this.#device.control.id,
      workerIndex,
      directory: this.#directory,
      window: this.#window,
      session: this.#session,
      counters,
      log: this.#logOptions,
    }
    const worker = new Worker(this.#workerSource, { eval: true, workerData: data })
    worker.once('error', (error) => {
      // A thread that starts while the device is already closed finds none.
      if (this.#ending) return
      this.#log.fatal({ event: 'queue-thread-failed', err: error, worker: workerIndex }, 'a queue thread failed')
      this.end(1)
    })
    this.#workers.set(workerIndex, worker)
  }

  #accept(): void {
    const listener = this.#listener
    if (listener === undefined || this.#connection !== undefined || this.#ending) return
    const fd = acceptUnix(listener.fd)
    if (fd < 0) {
      listener.watcher.arm()
      return
    }
    this.#log.info({ event: 'frontend-connected' }, 'a frontend has connected')
    this.#windowState.active = false
    this.#windowPossible = false
    this.#serve(fd)
    // It takes a while, and the frontend will not come to the queues before. Who waits for a frontend does not pay for it.
    this.#startWorker(0)
  }

  /** Goes on where the server before this one was ended. @returns whether it had a frontend */
  #succeed(): boolean {
    const succession = this.#succession
    if (succession === undefined) return false
    const left = succession.restore(this.#device.control, this.#directory.id, this.#session)
    succession.serving()
    const { signal, crashes, upgrade } = succession.end
    const how = { signal, crashes, frontend: left !== undefined }
    if (upgrade) {
      this.#log.info(
        { event: 'server-restarted', ...how },
        'the program that is installed goes on where the one before has stopped',
      )
    } else {
      this.#log.warn(
        { event: 'server-restarted', ...how },
        `signal ${signal} ended the serving process; this one goes on`,
      )
    }
    if (succession.refuses)
      this.#log.error(
        { event: 'server-crashing', crashes },
        `the serving process has crashed ${crashes} times within a minute: all requests of the guest fail with EIO from here on, and what it has mapped stays`,
      )
    if (left === undefined) {
      this.#resetDevice()
      return false
    }
    this.#windowState.active = left.windowActive
    this.#windowPossible = left.windowPossible
    this.#device.noteRunning(left.running)
    this.#serve(left.connection, left)
    for (const queue of new Set([0, ...left.running])) this.#startWorker(Math.max(0, queue - 1))
    return true
  }

  /** @param left what this frontend had told a server before this one */
  #serve(fd: number, left?: LeftFrontend): void {
    this.#connectedAt = performance.now()
    this.#watch = setInterval(() => this.#stuck.look(this.#device.control.requestsInProgress()), WATCH_MS)
    const offered: OfferedParts = {
      window: this.#plan.kind,
      memorySlots: this.#options.configureMemSlots,
      config: this.#options.tag !== undefined,
      // The host's locks belong to descriptors, which don't move.
      deviceState: !this.#options.posixLocks && !this.#options.flocks,
    }
    const handler = new BackendRequestHandler(
      this.#device,
      {
        tag: this.#options.tag ?? '',
        protocolFeatures: offeredProtocolFeatures(offered),
        windowSize: this.#plan.sizeBytes,
      },
      {
        protocolFeaturesSet: (features) => {
          this.#checkWindowFeatures(features)
          if (lacksMemorySlots(offered, features)) {
            this.#log.info(
              { event: 'memory-slots-few' },
              'this frontend can announce 8 regions of memory: for more, leave --tag out, which its device does not read',
            )
          }
        },
        windowAsked: () => this.#giveWindow(),
        queueUsed: (queue) => this.#startWorker(Math.max(0, queue - 1)),
        ringContinues: () => new FuseSession(this.#session).noteForeign(),
        deviceStarting: () => this.#checkStart(),
        deviceReset: () => this.#resetDevice(),
      },
      this.#stateTransfer,
      left,
    )
    const keeper = this.#succession?.messageKeeper(
      this.#device.control,
      () => ({
        connection: fd,
        ...handler.state,
        windowPossible: this.#windowPossible,
        windowActive: this.#windowState.active,
      }),
      left?.repliesEnd,
    )
    this.#connection = new Connection(fd, handler, (error) => void this.#disconnected(error), keeper)
    this.#connection.onMessage = (name) =>
      this.#log.debug({ event: 'frontend-message', message: name }, 'message of the frontend')
    this.#connection.onFault = (error) => this.#log.warn({ event: 'message-refused', code: error.code }, error.message)
  }

  /** @param features the protocol features that the frontend has chosen */
  #checkWindowFeatures(features: bigint): void {
    if (this.#plan.kind === 'none') return
    const missing = missingWindowFeatures(features).map((name) => `VHOST_USER_PROTOCOL_F_${name}`)
    this.#windowPossible = missing.length === 0
    if (missing.length > 0) this.#doWithoutWindow(`the frontend lacks ${missing.join(', ')}`)
  }

  /** A frontend knows the messages for each of its devices, but asks for the size of a window only for one that can have it. */
  #giveWindow(): void {
    if (!this.#windowPossible || this.#windowState.active) return
    this.#windowState.active = true
    this.#log.info(
      { event: 'window-shown', window: this.#plan.kind },
      `this frontend gets the ${this.#plan.kind} window; QEMU migrates no device that can have one`,
    )
  }

  #checkStart(): void {
    if (this.#windowPossible && !this.#windowState.active) {
      this.#windowPossible = false
      this.#doWithoutWindow('its device has none (no GET_SHMEM_CONFIG)')
    }
    this.#checkReset()
  }

  #doWithoutWindow(reason: string): void {
    if (this.#options.window === 'auto') {
      this.#log.info(
        { event: 'window-absent', window: 'none' },
        `window auto: none for this frontend, because ${reason}`,
      )
      return
    }
    // Its guests would work without the window that was asked for, silently: refuse instead.
    this.#connection?.close(
      new WindowRefusedError(
        `--window=${this.#options.window}: ${reason}; QEMU 11.1 has it with vhost-user-test-device-pci, or use --window=auto`,
      ),
    )
  }

  /**
   * QEMU does not tell a reset of its generic device from a stop, but only a reset takes the window out of the memory
   * table.
   */
  #checkReset(): void {
    const { viewFd, sizeBytes } = this.#plan
    if (viewFd === undefined || !this.#device.control.viewLost(viewFd, sizeBytes)) return
    this.#log.info({ event: 'device-reset' }, 'the device has been reset')
    this.#resetDevice()
  }

  #resetDevice(): void {
    this.#fileSystem.reset()
    new FuseSession(this.#session).clear()
    // The frontend drops its mappings by itself; what a view maps is ours to drop.
    this.#device.control.forgetWindow()
    this.#plan.view?.unmap(0, this.#plan.sizeBytes)
  }

  async #disconnected(error: Error | undefined): Promise<void> {
    this.#connection = undefined
    this.#succession?.forgetFrontend(this.#device.control)
    clearInterval(this.#watch)
    if (error !== undefined && !this.#ending) {
      this.#log.error(
        { event: 'frontend-failed', code: error instanceof VhostUserError ? error.code : undefined },
        error.message,
      )
    }
    if (this.#ending) return
    if (error instanceof WindowRefusedError) {
      this.end(1)
      return
    }
    this.#log.info({ event: 'frontend-disconnected' }, 'the frontend has disconnected')
    if (!this.#options.keepListening) {
      this.end(0)
      return
    }
    await this.#device.stopAllQueues()
    this.#device.control.reset()
    this.#resetDevice()
    this.#sayWaiting()
    this.#listener?.watcher.arm()
  }
}

/** The frontend can't show the window that the command line insists on. */
class WindowRefusedError extends Error {
  override readonly name = 'WindowRefusedError'
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Somebody was faster.
  }
}
