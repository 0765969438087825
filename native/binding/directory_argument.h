// SPDX-License-Identifier: Apache-2.0
// The argument that names a shared directory: its number.
#ifndef VIEWFSD_DIRECTORY_ARGUMENT_H_
#define VIEWFSD_DIRECTORY_ARGUMENT_H_

#include <napi.h>

#include "binding/arguments.h"
#include "host/shared_directory.h"

namespace viewfsd {

// Throws a RangeError where there is none of that number.
inline SharedDirectory& DirectoryArgument(const Napi::CallbackInfo& info, size_t index = 0) {
  const int64_t id = IntegerArgument(info, index, "directory", 0, INT32_MAX);
  SharedDirectory* directory = FindSharedDirectory(static_cast<int>(id));
  if (directory == nullptr)
    throw Napi::RangeError::New(info.Env(), "directory is not the number of a shared directory");
  return *directory;
}

}  // namespace viewfsd

#endif  // VIEWFSD_DIRECTORY_ARGUMENT_H_
