// SPDX-License-Identifier: Apache-2.0
import type { Target } from '../engine/target.ts'
import { ControlTarget } from './control.ts'
import { DaemonTarget } from './daemon.ts'
import { FuseTarget } from './fuse.ts'
import { PassthroughTarget } from './passthrough.ts'
import { StateTarget } from './state.ts'
import { VhostUserTarget } from './vhost-user.ts'

const TARGETS: Readonly<Record<string, () => Target>> = {
  fuse: () => new FuseTarget(),
  passthrough: () => new PassthroughTarget(),
  'vhost-user': () => new VhostUserTarget(),
  state: () => new StateTarget(),
  control: () => new ControlTarget(),
  daemon: () => new DaemonTarget(),
}

export const TARGET_NAMES = Object.keys(TARGETS)

export function openTarget(name: string): Target {
  const open = TARGETS[name]
  if (open === undefined) throw new Error(`no target ${name}: ${TARGET_NAMES.join(', ')}`)
  return open()
}
