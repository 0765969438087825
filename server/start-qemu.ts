// SPDX-License-Identifier: Apache-2.0
/** How to start QEMU with the share that this daemon serves, for whoever has started it by hand. */

export interface Share {
  /** Absolute. */
  readonly socketPath: string
  /** The daemon offers a window. */
  readonly window: boolean
  readonly tag: string | undefined
}

const MEMORY = '-m 2G -object memory-backend-memfd,id=mem,size=2G,share=on -numa node,memdev=mem'

/** One line of a shell. The generic device, which alone shows a window, gets its tag from the daemon. */
export function qemuCommand({ socketPath, window, tag }: Share): string {
  const device =
    window && tag !== undefined
      ? 'vhost-user-test-device-pci,virtio-id=26,num_vqs=2,vq_size=1024,config_size=40,chardev=fs0'
      : quoted(`vhost-user-fs-pci,chardev=fs0,tag=${doubled(tag ?? 'data')},queue-size=1024`)
  const chardev = quoted(`socket,id=fs0,path=${doubled(socketPath)}`)
  return `qemu-system-x86_64 -machine q35,accel=kvm -cpu host ${MEMORY} -chardev ${chardev} -device ${device} ...`
}

/** A comma ends a value of QEMU's options. */
function doubled(value: string): string {
  return value.replaceAll(',', ',,')
}

/** As one word of a POSIX shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
