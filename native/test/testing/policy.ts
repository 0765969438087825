// SPDX-License-Identifier: Apache-2.0
import { services } from '../../../server/fuse/services.ts'
import { FuseSession } from '../../../server/fuse/session.ts'
import { agreedFeatures, openPolicy } from '../../../server/passthrough/open-policy.ts'
import { defaultOptions } from '../../../server/passthrough/options.ts'
import { fileSystem, type SharedDirectoryId } from '../../index.ts'

/**
 * The data plane serves what it can, as in a session that has agreed on nothing.
 * @param windowSize bytes; 0: there is no window
 */
export function publishDefaultPolicy(directory: SharedDirectoryId, windowSize = 0, readOnly = false): void {
  const session = new FuseSession(FuseSession.allocate())
  const open = openPolicy({ ...defaultOptions, readOnly }, session)
  const agreed = { ...agreedFeatures(session), windowShown: windowSize > 0 }
  fileSystem.publishPolicy(directory, services(readOnly), agreed, open, windowSize)
}
