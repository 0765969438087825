// SPDX-License-Identifier: Apache-2.0
// For tests alone, in an addon of its own so that the product has no such thing: any system call
// with any arguments.
#include <napi.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <deque>
#include <string>

namespace {

// (number, ...arguments) -> result or -errno. Strings and Uint8Arrays become pointers.
Napi::Value RawSyscall(const Napi::CallbackInfo& info) {
  long arguments[7] = {};
  std::deque<std::string> strings;
  for (size_t i = 0; i < info.Length() && i < 7; i++) {
    if (info[i].IsString()) {
      strings.push_back(info[i].As<Napi::String>().Utf8Value());
      arguments[i] = reinterpret_cast<long>(strings.back().c_str());
    } else if (info[i].IsTypedArray()) {
      arguments[i] = reinterpret_cast<long>(info[i].As<Napi::Uint8Array>().Data());
    } else if (info[i].IsNumber()) {
      arguments[i] = static_cast<long>(info[i].As<Napi::Number>().Int64Value());
    }
  }
  const long result = syscall(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                              arguments[5], arguments[6]);
  return Napi::Number::New(info.Env(), static_cast<double>(result < 0 ? -errno : result));
}

// Of a Uint8Array's bytes, for system calls that take a pointer within a structure.
Napi::Value AddressOf(const Napi::CallbackInfo& info) {
  const auto address = reinterpret_cast<uintptr_t>(info[0].As<Napi::Uint8Array>().Data());
  return Napi::Number::New(info.Env(), static_cast<double>(address));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("rawSyscall", Napi::Function::New(env, RawSyscall, "rawSyscall"));
  exports.Set("addressOf", Napi::Function::New(env, AddressOf, "addressOf"));
  return exports;
}

}  // namespace

NODE_API_MODULE(raw_syscall, Init)
