// SPDX-License-Identifier: Apache-2.0
// A memory view as the window of a shared directory, for JavaScript; declared in
// native/view-ranges.ts.
#include "binding/view_ranges_exports.h"

#include "binding/arguments.h"
#include "host/shared_directory.h"

namespace viewfsd {

namespace {

using Info = Napi::CallbackInfo;

ViewRanges& RangesArgument(const Info& info) {
  const int64_t id = IntegerArgument(info, 0, "directory", 0, INT32_MAX);
  SharedDirectory* directory = FindSharedDirectory(static_cast<int>(id));
  if (directory == nullptr)
    throw Napi::RangeError::New(info.Env(), "directory is not the number of a shared directory");
  return directory->view_ranges();
}

void Attach(const Info& info) { RangesArgument(info).Attach(FdArgument(info, 1, "controlFd")); }

Napi::Value Map(const Info& info) {
  ViewRanges& ranges = RangesArgument(info);
  const uint64_t nodeid = OffsetArgument(info, 1, "nodeid");
  const ViewRange range = {.moffset = OffsetArgument(info, 2, "moffset"),
                           .length = OffsetArgument(info, 3, "length"),
                           .foffset = OffsetArgument(info, 5, "foffset")};
  const int fd = FdArgument(info, 4);
  const bool writable = BooleanArgument(info, 6, "writable");
  return Napi::Number::New(info.Env(), ranges.Map(nodeid, range, fd, writable));
}

void Forget(const Info& info) {
  RangesArgument(info).Forget(OffsetArgument(info, 1, "moffset"),
                              OffsetArgument(info, 2, "length"));
}

}  // namespace

void InitViewRanges(Napi::Env env, Napi::Object exports) {
  Napi::Object ranges = Napi::Object::New(env);
  ranges.Set("attach", Napi::Function::New(env, Attach));
  ranges.Set("map", Napi::Function::New(env, Map));
  ranges.Set("forget", Napi::Function::New(env, Forget));
  exports.Set("viewRanges", ranges);
}

}  // namespace viewfsd
