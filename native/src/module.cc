// SPDX-License-Identifier: Apache-2.0
// The addon's export list, and nothing else. Each source file brings its own Init function;
// native/index.ts declares what they export. One Module per environment, so the addon works in
// worker threads.
#include <napi.h>

#include "device_control.h"
#include "eventfd.h"
#include "fd_watcher.h"
#include "file_system_exports.h"
#include "memory_view.h"
#include "message_server.h"
#include "queue_worker.h"
#include "sandbox.h"
#include "unix_socket.h"

namespace viewfsd {

class Module : public Napi::Addon<Module> {
 public:
  Module(Napi::Env env, Napi::Object exports) {
    InitEventFd(env, exports);
    InitUnixSocket(env, exports);
    InitQueueWorker(env, exports);
    InitMemoryView(env, exports);
    InitFdWatcher(env, exports);
    InitFileSystem(env, exports);
    InitDeviceControl(env, exports);
    InitSandbox(env, exports);
    InitMessageServer(env, exports);
  }
};

}  // namespace viewfsd

using ViewfsdModule = viewfsd::Module;
NODE_API_ADDON(ViewfsdModule)
