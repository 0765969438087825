// SPDX-License-Identifier: Apache-2.0
/** A guest that libvirt starts in the nested host, whose root and data are shares that libvirt starts viewfsd for. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Agent } from '../guest/agent.ts'
import { makeGuestRoot } from '../guest/guest-root.ts'
import { connectPatiently } from '../guest/qmp.ts'
import { domainXml } from '../libvirt/domain.ts'
import { step } from '../rig/progress.ts'
import { sh, until } from './nested-shell.ts'

const TOKEN = 'packages'
const TIMEOUT_MS = 900_000

export interface NestedDomainOptions {
  readonly name: string
  readonly locks: boolean
  readonly windowSocket?: string
}

export class NestedDomain {
  readonly name: string
  /** The folder that the guest has by the tag of `data`. */
  readonly data: string
  /** The document. */
  readonly xml: string
  readonly #agentSocket: string
  #agent: Agent | undefined

  constructor(options: NestedDomainOptions) {
    this.name = options.name
    const folder = join('/tmp', options.name)
    this.data = join('/srv', options.name)
    for (const path of [folder, this.data]) mkdirSync(path, { recursive: true })
    this.#agentSocket = join(folder, 'agent.sock')
    this.xml = join(folder, 'domain.xml')
    writeFileSync(
      this.xml,
      domainXml({
        ...options,
        type: 'kvm',
        kernelImage: `/lib/modules/${sh('uname -r')}/vmlinux`,
        commandLine: `console=ttyS0 loglevel=5 panic=-1 mitigations=off root=root rootfstype=virtiofs rw init=/sbin/viewfsd-guest-init viewfsd.token=${TOKEN}`,
        program: '/usr/libexec/viewfsd',
        rootDir: makeGuestRoot(folder),
        dataDir: this.data,
        consoleLog: `/var/log/libvirt/qemu/${options.name}-console.log`,
        agentSocket: this.#agentSocket,
      }),
    )
  }

  /** Once libvirt has started the guest. */
  async connect(): Promise<void> {
    this.#agent?.close()
    this.#agent = new Agent(await connectPatiently(this.#agentSocket, TIMEOUT_MS), TOKEN)
  }

  get #connected(): Agent {
    if (this.#agent === undefined) throw new Error('nobody has connected to the guest')
    return this.#agent
  }

  async booted(): Promise<void> {
    await this.connect()
    await step('booting the guest', () => this.#connected.ready(TIMEOUT_MS))
  }

  /** Runs a script that must succeed in the guest; gives what it prints, without blanks around it. */
  async must(script: string): Promise<string> {
    const { status, output } = await this.#connected.run(script)
    if (status !== 0) throw new Error(`${script} in the guest: ${status}, ${output}`)
    return output.trim()
  }

  /** Powers it off, and waits until libvirt has noticed. */
  async end(): Promise<void> {
    this.#connected.post('busybox poweroff -f')
    await step('the end of the guest', () => until(() => sh('virsh list --name') === ''))
  }

  close(): void {
    this.#agent?.close()
  }
}
