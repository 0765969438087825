// SPDX-License-Identifier: Apache-2.0
// Node-style system errors for constructors and set-up calls. Hot calls return -errno instead (no
// throw: it costs microseconds).
#ifndef VIEWFSD_UTIL_ERRNO_ERROR_H_
#define VIEWFSD_UTIL_ERRNO_ERROR_H_

#include <napi.h>

#include <cstring>
#include <string>

namespace viewfsd {

// An Error with `errno` (negative, as Node's own), `code` ("ENOENT"), `syscall` and, where given,
// `path`.
inline Napi::Error ErrnoError(Napi::Env env, int error, const char* syscall,
                              const std::string& path = "") {
  const char* name = strerrorname_np(error);
  const std::string code = name != nullptr ? name : "UNKNOWN";
  std::string message = code + ": " + strerror(error) + ", " + syscall;
  if (!path.empty()) message += " '" + path + "'";
  Napi::Error result = Napi::Error::New(env, message);
  result.Set("errno", Napi::Number::New(env, -error));
  result.Set("code", Napi::String::New(env, code));
  result.Set("syscall", Napi::String::New(env, syscall));
  if (!path.empty()) result.Set("path", Napi::String::New(env, path));
  return result;
}

}  // namespace viewfsd

#endif  // VIEWFSD_UTIL_ERRNO_ERROR_H_
