// SPDX-License-Identifier: Apache-2.0
// Declared in index.ts.
#include "testing/io_uring.h"

#include <sys/eventfd.h>

#include "binding/arguments.h"
#include "host/io_uring.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

Napi::Value RingResult(const Napi::CallbackInfo& info) {
  const auto allowed = static_cast<uint8_t>(IntegerArgument(info, 0, "allowed", 0, UINT8_MAX));
  const auto opcode = static_cast<uint8_t>(IntegerArgument(info, 1, "opcode", 0, UINT8_MAX));
  const UniqueFd wakeup(eventfd(0, EFD_CLOEXEC));
  const std::unique_ptr<IoUring> ring = IoUring::Create(allowed, wakeup.get());
  if (ring == nullptr) throw Napi::Error::New(info.Env(), "this machine has no io_uring");
  io_uring_sqe* entry = ring->Push();
  entry->opcode = opcode;
  entry->fd = -1;
  ring->Arm();
  int32_t result = 1;
  ring->Submit([](uint64_t) {});
  eventfd_t count;
  eventfd_read(wakeup.get(), &count);
  ring->Take([&](uint64_t, int32_t got) { result = got; });
  return Napi::Number::New(info.Env(), result);
}

}  // namespace

void InitTestingIoUring(Napi::Env env, Napi::Object exports) {
  exports.Set("ringResult", Napi::Function::New(env, RingResult));
}

}  // namespace viewfsd
