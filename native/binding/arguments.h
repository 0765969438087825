// SPDX-License-Identifier: Apache-2.0
// Checked access to JavaScript arguments. A wrong type or range throws TypeError/RangeError that
// names the argument.
#ifndef VIEWFSD_UTIL_ARGUMENTS_H_
#define VIEWFSD_UTIL_ARGUMENTS_H_

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace viewfsd {

// An integer in [low, high]; JavaScript's exact range ends at 2^53.
inline int64_t IntegerArgument(const Napi::CallbackInfo& info, size_t index, const char* name,
                               int64_t low = -(int64_t{1} << 53), int64_t high = int64_t{1} << 53) {
  const Napi::Value value = info[index];
  if (!value.IsNumber())
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) ||
      number != std::trunc(number))
    throw Napi::RangeError::New(info.Env(), std::string(name) + " must be an integer in [" +
                                                std::to_string(low) + ", " + std::to_string(high) +
                                                "]");
  return static_cast<int64_t>(number);
}

inline int FdArgument(const Napi::CallbackInfo& info, size_t index, const char* name = "fd") {
  return static_cast<int>(
      IntegerArgument(info, index, name, 0, std::numeric_limits<int32_t>::max()));
}

// A size or offset in bytes, 0 to 2^53.
inline uint64_t OffsetArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return static_cast<uint64_t>(IntegerArgument(info, index, name, 0));
}

inline bool BooleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsBoolean())
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a boolean");
  return value.As<Napi::Boolean>().Value();
}

// A string without NUL bytes (so that it can be a path).
inline std::string StringArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsString())
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos)
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must not contain a NUL byte");
  return text;
}

// The bytes of a Uint8Array or Buffer; valid until the call returns.
struct Bytes {
  uint8_t* data;
  size_t size;
};
inline Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(info.Env(), info[index], &type, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != napi_uint8_array)
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a Uint8Array");
  return {static_cast<uint8_t*>(data), length};
}

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_ARGUMENTS_H_
