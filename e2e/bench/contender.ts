// SPDX-License-Identifier: Apache-2.0
/** In the nested host: a guest with the device that is measured, named `data`, and a daemon for its root. */
import { type FsDaemon, startVirtiofsd } from '../guest/daemon.ts'
import { type FileSystemDevice, Guest } from '../guest/guest.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { guestKernel } from '../guest/host.ts'
import { step } from '../rig/progress.ts'

export interface Contender<Column> {
  readonly column: Column
  readonly guest: Guest
  readonly daemons: readonly FsDaemon[]
}

/** A daemon and QEMU's device for it, or what QEMU serves by itself, as it stands on its command line. */
export type DataDevice =
  | { readonly kind: 'fs' | 'generic'; readonly start: () => Promise<FsDaemon> }
  | { readonly kind: 'none'; readonly qemu: readonly string[] }

/**
 * Boots a guest, which stands still from then on but for its turns: even an idle guest costs an emulated host much.
 *
 * @param name of the guest, in logs
 * @param dir where logs and sockets go
 * @param data what is measured
 * @param prepare a script for the guest
 */
export async function bootContender<Column>(
  column: Column,
  name: string,
  dir: string,
  data: DataDevice,
  prepare = 'true',
): Promise<Contender<Column>> {
  const rootDaemon = await startVirtiofsd(dir, 'root', makeGuestRoot(`/run/bench-${name}`), ['--cache=always'])
  const devices: FileSystemDevice[] = [{ socketPath: rootDaemon.socketPath, kind: 'fs', tag: 'root' }]
  const daemons = [rootDaemon]
  if (data.kind !== 'none') {
    const daemon = await data.start()
    devices.push({ socketPath: daemon.socketPath, kind: data.kind, tag: 'data' })
    daemons.unshift(daemon)
  }
  const guest = await step(`${name}: booting a guest`, () =>
    Guest.boot({
      dir,
      kernelImage: guestKernel(process.env['VIEWFSD_GUEST_KERNEL'] ?? '7.3'),
      memoryMiB: 768,
      devices,
      moreArguments: data.kind === 'none' ? data.qemu : [],
    }),
  )
  await guest.must(prepare)
  await guest.qmp.command('stop')
  return { column, guest, daemons }
}

/** Lets the guest run for as long as `work` takes. */
export async function takeTurn<Result>(
  { guest }: Contender<unknown>,
  work: (guest: Guest) => Promise<Result>,
): Promise<Result> {
  await guest.qmp.command('cont')
  const result = await work(guest)
  await guest.qmp.command('stop')
  return result
}

export async function endContender({ guest, daemons }: Contender<unknown>): Promise<void> {
  await guest.qmp.command('cont')
  await guest.shutdown()
  for (const daemon of daemons) await daemon.end()
}
