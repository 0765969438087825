// SPDX-License-Identifier: Apache-2.0
/** A domain that lives on two shares by viewfsd, as libvirt starts it, and may have a third with a window. */

export interface DomainOptions {
  readonly name: string
  /** Emulated unless it is 'kvm', so that it runs on any machine. */
  readonly type?: 'qemu' | 'kvm'
  readonly kernelImage: string
  readonly commandLine: string
  /** The back-end of the root share; that of the other one is found by its description. */
  readonly program: string
  readonly rootDir: string
  readonly dataDir: string
  readonly consoleLog: string
  readonly agentSocket: string
  /** Whether locks of the guest in the other share exclude the host and other guests; such a guest can't be moved or saved. */
  readonly locks: boolean
  /** The socket of a daemon with a window, which libvirt does not know of. */
  readonly windowSocket?: string
}

function windowDevice(socket: string): string {
  return `  <qemu:commandline>
    <qemu:arg value='-chardev'/>
    <qemu:arg value='socket,id=viewfsd0,path=${socket}'/>
    <qemu:arg value='-device'/>
    <qemu:arg value='vhost-user-test-device-pci,virtio-id=26,num_vqs=2,vq_size=1024,config_size=40,chardev=viewfsd0,addr=0x10'/>
  </qemu:commandline>
`
}

/** The document for `virsh create` or `virsh define`. */
export function domainXml(options: DomainOptions): string {
  return `<domain type='${options.type ?? 'qemu'}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>${options.name}</name>
  <memory unit='MiB'>512</memory>
  <memoryBacking>
    <source type='memfd'/>
    <access mode='shared'/>
  </memoryBacking>
  <vcpu>1</vcpu>
  <cpu mode='${options.type === 'kvm' ? 'host-passthrough' : 'maximum'}'/>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${options.kernelImage}</kernel>
    <cmdline>${options.commandLine}</cmdline>
  </os>
  <features>
    <acpi/>
  </features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <filesystem type='mount' accessmode='passthrough'>
      <driver type='virtiofs' queue='1024'/>
      <binary path='${options.program}' xattr='on'>
        <cache mode='always'/>
        <lock posix='off' flock='off'/>
      </binary>
      <source dir='${options.rootDir}'/>
      <target dir='root'/>
    </filesystem>
    <filesystem type='mount' accessmode='passthrough'>
      <driver type='virtiofs'/>
      <binary>
        <lock posix='${options.locks ? 'on' : 'off'}' flock='${options.locks ? 'on' : 'off'}'/>
      </binary>
      <source dir='${options.dataDir}'/>
      <target dir='data'/>
    </filesystem>
    <serial type='file'>
      <source path='${options.consoleLog}'/>
    </serial>
    <channel type='unix'>
      <source mode='bind' path='${options.agentSocket}'/>
      <target type='virtio' name='agent'/>
    </channel>
    <memballoon model='none'/>
  </devices>
${options.windowSocket === undefined ? '' : windowDevice(options.windowSocket)}</domain>
`
}
