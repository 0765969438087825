// SPDX-License-Identifier: Apache-2.0
// eventfd(2): kicks, calls and stop requests.
#include "binding/eventfd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "binding/arguments.h"
#include "binding/errno_error.h"
#include "util/signal_eventfd.h"

namespace viewfsd {

namespace {

Napi::Value CreateEventFd(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw ErrnoError(info.Env(), errno, "eventfd");
  return Napi::Number::New(info.Env(), fd);
}

void SignalEventFdJs(const Napi::CallbackInfo& info) { SignalEventFd(FdArgument(info, 0)); }

// 0 where nothing has been signalled.
Napi::Value DrainEventFd(const Napi::CallbackInfo& info) {
  uint64_t count = 0;
  if (read(FdArgument(info, 0), &count, sizeof(count)) != sizeof(count)) count = 0;
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

}  // namespace

void InitEventFd(Napi::Env env, Napi::Object exports) {
  exports.Set("createEventFd", Napi::Function::New(env, CreateEventFd, "createEventFd"));
  exports.Set("signalEventFd", Napi::Function::New(env, SignalEventFdJs, "signalEventFd"));
  exports.Set("drainEventFd", Napi::Function::New(env, DrainEventFd, "drainEventFd"));
}

}  // namespace viewfsd
