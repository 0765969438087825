// SPDX-License-Identifier: Apache-2.0
// Declared in counts.ts.
#include "testing/counts.h"

#include "binding/directory_argument.h"
#include "host/handle_table.h"
#include "host/shared_directory.h"

namespace viewfsd {
namespace {

using Info = Napi::CallbackInfo;

Napi::Value Number(const Info& info, size_t count) {
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value Inodes(const Info& info) {
  return Number(info, DirectoryArgument(info).inodes().size());
}

Napi::Value Handles(const Info& info) {
  return Number(info, DirectoryArgument(info).handles().size());
}

Napi::Value StreamBuffers(const Info& info) { return Number(info, StreamBuffer::count()); }

}  // namespace

void InitTestingCounts(Napi::Env env, Napi::Object exports) {
  Napi::Object counts = Napi::Object::New(env);
  counts.Set("inodes", Napi::Function::New(env, Inodes));
  counts.Set("handles", Napi::Function::New(env, Handles));
  counts.Set("streamBuffers", Napi::Function::New(env, StreamBuffers));
  exports.Set("counts", counts);
}

}  // namespace viewfsd
