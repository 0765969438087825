// SPDX-License-Identifier: Apache-2.0
// eventfd(2), read from JavaScript.
#include "binding/eventfd.h"

#include <unistd.h>

#include <cstdint>

#include "binding/arguments.h"

namespace viewfsd {

namespace {

// 0 where nothing has been signalled.
Napi::Value DrainEventFd(const Napi::CallbackInfo& info) {
  uint64_t count = 0;
  if (read(FdArgument(info, 0), &count, sizeof(count)) != sizeof(count)) count = 0;
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

}  // namespace

void InitEventFd(Napi::Env env, Napi::Object exports) {
  exports.Set("drainEventFd", Napi::Function::New(env, DrainEventFd, "drainEventFd"));
}

}  // namespace viewfsd
