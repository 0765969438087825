// SPDX-License-Identifier: Apache-2.0
/** What the program says of itself: --version and --print-capabilities. */
import { MemoryView, memoryViewAbiVersion } from '../native/index.ts'

/** Put in by server/bundle.sh. */
declare const VIEWFSD_VERSION: string
declare const VIEWFSD_COMMIT: string

export function programVersion(): string {
  return VIEWFSD_VERSION
}

/** The ABI version of the driver that is loaded, or why that is not known. */
function driverAbi(): string {
  try {
    const view = new MemoryView('/dev/memory-view')
    try {
      return String(view.info().abiVersion)
    } finally {
      view.close()
    }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    return code === 'ENOENT' ? 'not loaded' : `not known (${code})`
  }
}

export function versionText(): string {
  return `viewfsd ${programVersion()} (commit ${VIEWFSD_COMMIT})\nmemory-view ABI: ${memoryViewAbiVersion}; driver: ${driverAbi()}\n`
}

/**
 * A back-end's capabilities by QEMU's docs/interop/vhost-user.json.
 * virtiofsd has separate-options: newer libvirt then refuses a lock element, which it can express in `-o` alone.
 */
export function capabilitiesText(): string {
  return `${JSON.stringify({ type: 'fs', features: ['migrate-precopy', 'posix-acl-negotiation-mode', 'security-label-negotiation-mode'] }, null, 2)}\n`
}
