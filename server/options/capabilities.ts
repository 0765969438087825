// SPDX-License-Identifier: Apache-2.0
/** Linux capabilities by name, and --modcaps. */

/** Names in lower case without CAP_; the index is the number (include/uapi/linux/capability.h). */
export const CAPABILITIES = [
  'chown',
  'dac_override',
  'dac_read_search',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'linux_immutable',
  'net_bind_service',
  'net_broadcast',
  'net_admin',
  'net_raw',
  'ipc_lock',
  'ipc_owner',
  'sys_module',
  'sys_rawio',
  'sys_chroot',
  'sys_ptrace',
  'sys_pacct',
  'sys_admin',
  'sys_boot',
  'sys_nice',
  'sys_resource',
  'sys_time',
  'sys_tty_config',
  'mknod',
  'lease',
  'audit_write',
  'audit_control',
  'setfcap',
  'mac_override',
  'mac_admin',
  'syslog',
  'wake_alarm',
  'block_suspend',
  'audit_read',
  'perfmon',
  'bpf',
  'checkpoint_restore',
] as const
export type CapabilityName = (typeof CAPABILITIES)[number]

/** A change to the capabilities that the daemon keeps. */
export interface CapabilityChange {
  readonly keep: boolean
  readonly capability: CapabilityName
}

/** `+NAME` and `-NAME`, with colons between them; capitals do not matter. */
export function parseModcaps(text: string): CapabilityChange[] {
  return text.split(':').map((change) => {
    const sign = change.charAt(0)
    if (sign !== '+' && sign !== '-')
      throw new Error('must be +NAME or -NAME, with colons between them, such as +sys_admin:-chown')
    const name = change.slice(1).toLowerCase()
    const capability = CAPABILITIES.find((candidate) => candidate === name)
    if (capability === undefined)
      throw new Error(`there is no capability "${change.slice(1)}"; capabilities(7) has their names, without CAP_`)
    return { keep: sign === '+', capability }
  })
}
