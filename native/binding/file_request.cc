// SPDX-License-Identifier: Apache-2.0
#include "binding/file_request.h"

#include <cmath>
#include <cstring>
#include <string>

namespace viewfsd {
namespace {

// The largest integer up to which all are exact.
constexpr double kExact = 9007199254740992.0;

const double* Record(const Napi::CallbackInfo& info) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(info.Env(), info[0], &type, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != napi_float64_array)
    throw Napi::TypeError::New(info.Env(), "a record must be a Float64Array");
  if (length != FileRequest::kFields)
    throw Napi::RangeError::New(info.Env(), "a record must have a place for each field");
  return static_cast<const double*>(data);
}

SharedDirectory& Directory(Napi::Env env, double id) {
  SharedDirectory* directory =
      id >= 0 && id <= INT32_MAX ? FindSharedDirectory(static_cast<int>(id)) : nullptr;
  if (directory == nullptr)
    throw Napi::RangeError::New(env, "directory is not the number of a shared directory");
  return *directory;
}

}  // namespace

FileRequest::FileRequest(const Napi::CallbackInfo& info)
    : env_(info.Env()),
      record_(Record(info)),
      bytes_(BytesArgument(info, 1, "bytes")),
      reply_(BytesArgument(info, 2, "reply")),
      directory_(Directory(info.Env(), record_[kDirectory])) {}

uint32_t FileRequest::U32(Field field) const {
  const double value = record_[field];
  if (!(value >= 0 && value <= UINT32_MAX) || value != std::trunc(value))
    throw Napi::RangeError::New(env_, "field " + std::to_string(field) + " must have 32 bits");
  return static_cast<uint32_t>(value);
}

uint64_t FileRequest::U64(Field field) const {
  const double value = record_[field];
  return value >= 0 && value < kExact ? static_cast<uint64_t>(value) : UINT64_MAX;
}

int64_t FileRequest::I64(Field field) const {
  const double value = record_[field];
  if (!(value > -9223372036854775808.0)) return INT64_MIN;
  return value < 9223372036854775807.0 ? static_cast<int64_t>(value) : INT64_MAX;
}

size_t FileRequest::Place(Field field) const {
  const double value = record_[field];
  if (!(value >= 0 && value < kExact) || value != std::trunc(value))
    throw Napi::RangeError::New(env_, "field " + std::to_string(field) + " must be a place");
  return static_cast<size_t>(value);
}

Bytes FileRequest::RangeOf(Field field, size_t behind) const {
  const size_t offset = Place(field);
  const size_t length = Place(static_cast<Field>(field + 1));
  if (offset > bytes_.size || length + behind > bytes_.size - offset)
    throw Napi::RangeError::New(env_, "field " + std::to_string(field) + " leaves its array");
  return {bytes_.data + offset, length};
}

const char* FileRequest::Component(Field offset) const {
  const Bytes range = RangeOf(offset, 1);
  const char* name = reinterpret_cast<const char*>(range.data);
  return IsComponent(name, range.size) ? name : nullptr;
}

const char* FileRequest::Text(Field offset) const {
  const Bytes range = RangeOf(offset, 1);
  const char* text = reinterpret_cast<const char*>(range.data);
  return strnlen(text, range.size + 1) == range.size ? text : nullptr;
}

uint8_t* FileRequest::Reply(size_t size) const {
  const size_t offset = Place(kReplyOffset);
  if (offset > reply_.size || size > reply_.size - offset)
    throw Napi::RangeError::New(env_, "the reply leaves its array");
  return reply_.data + offset;
}

Bytes FileRequest::ReplyRoom() const {
  const size_t size = Place(kReplySize);
  return {Reply(size), size};
}

}  // namespace viewfsd
