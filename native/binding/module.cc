// SPDX-License-Identifier: Apache-2.0
// The addon. One Module per environment, so that it works in worker threads.
#include <napi.h>

#include "binding/exports.h"

namespace viewfsd {

class Module : public Napi::Addon<Module> {
 public:
  Module(Napi::Env env, Napi::Object exports) { InitProduct(env, exports); }
};

}  // namespace viewfsd

using ViewfsdModule = viewfsd::Module;
NODE_API_ADDON(ViewfsdModule)
