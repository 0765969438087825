// SPDX-License-Identifier: Apache-2.0
/** In the nested host: a guest with the daemon that is measured, which shares `data`, and one for its root. */
import { type FsDaemon, startVirtiofsd } from '../guest/daemon.ts'
import { Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { guestKernel } from '../guest/host.ts'
import { step } from '../rig/progress.ts'

export interface Contender<Column> {
  readonly column: Column
  readonly guest: Guest
  readonly daemons: readonly FsDaemon[]
}

/**
 * @param name of the guest, in logs
 * @param dir where logs and sockets go
 * @param start the daemon that is measured
 * @param kind QEMU's device for it
 */
export async function bootContender<Column>(
  column: Column,
  name: string,
  dir: string,
  start: () => Promise<FsDaemon>,
  kind: 'fs' | 'generic',
): Promise<Contender<Column>> {
  const rootDaemon = await startVirtiofsd(dir, 'root', makeGuestRoot(`/run/bench-${name}`), ['--cache=always'])
  const daemon = await start()
  const guest = await step(`${name}: booting a guest`, () =>
    Guest.boot({
      dir,
      kernelImage: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
      memoryMiB: 768,
      devices: [
        { socketPath: rootDaemon.socketPath, kind: 'fs', tag: 'root' },
        { socketPath: daemon.socketPath, kind, tag: 'data' },
      ],
    }),
  )
  return { column, guest, daemons: [daemon, rootDaemon] }
}

export async function endContender({ guest, daemons }: Contender<unknown>): Promise<void> {
  await guest.shutdown()
  for (const daemon of daemons) await daemon.end()
}
