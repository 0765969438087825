// SPDX-License-Identifier: Apache-2.0
import { services } from '../../../server/fuse/services.ts'
import { FuseSession } from '../../../server/fuse/session.ts'
import { agreedFeatures, openPolicy } from '../../../server/passthrough/open-policy.ts'
import { defaultOptions } from '../../../server/passthrough/options.ts'
import { fileSystem, type SharedDirectoryId } from '../../index.ts'

/** The data plane serves what it can, as in a session that has agreed on nothing. */
export function publishDefaultPolicy(directory: SharedDirectoryId): void {
  const session = new FuseSession(FuseSession.allocate())
  const open = openPolicy(defaultOptions, session)
  fileSystem.publishPolicy(directory, services(false), agreedFeatures(session), open, 0)
}
