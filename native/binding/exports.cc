// SPDX-License-Identifier: Apache-2.0
// The addon's export list, and nothing else. Each source file brings its own Init function;
// native/index.ts declares what they export.
#include "binding/exports.h"

#include "binding/device_control.h"
#include "binding/eventfd.h"
#include "binding/fd_watcher.h"
#include "binding/file_system_exports.h"
#include "binding/forget_mount_exports.h"
#include "binding/memory_view.h"
#include "binding/migration_exports.h"
#include "binding/operation_exports.h"
#include "binding/queue_worker.h"
#include "binding/sandbox.h"
#include "binding/servers.h"
#include "binding/unix_socket.h"
#include "binding/view_ranges_exports.h"
#include "binding/window_files.h"

namespace viewfsd {

void InitProduct(Napi::Env env, Napi::Object exports) {
  InitEventFd(env, exports);
  InitUnixSocket(env, exports);
  InitQueueWorker(env, exports);
  InitMemoryView(env, exports);
  InitFdWatcher(env, exports);
  InitFileSystem(env, exports);
  InitOperations(env, exports);
  InitViewRanges(env, exports);
  InitForgetMount(env, exports);
  InitMigration(env, exports);
  InitWindowFiles(env, exports);
  InitDeviceControl(env, exports);
  InitSandbox(env, exports);
  InitServers(env, exports);
}

}  // namespace viewfsd
