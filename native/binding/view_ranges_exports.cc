// SPDX-License-Identifier: Apache-2.0
// A memory view as the window of a shared directory, for JavaScript; declared in
// native/view-ranges.ts.
#include "binding/view_ranges_exports.h"

#include <string>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "host/file_syscalls.h"
#include "host/shared_directory.h"

namespace viewfsd {

namespace {

using Info = Napi::CallbackInfo;

// Opens the inode where that is needed, for which the calling thread must not wait.
class FileAtWorker : public Napi::AsyncWorker {
 public:
  FileAtWorker(Napi::Env env, SharedDirectory& directory, uint64_t moffset)
      : Napi::AsyncWorker(env), directory_(directory), moffset_(moffset), deferred_(env) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    const uint64_t nodeid = directory_.view_ranges().NodeidAt(moffset_);
    if (nodeid != 0) path_ = DescribePath(directory_, nodeid);
  }
  void OnOK() override { deferred_.Resolve(Napi::String::New(Env(), path_)); }

 private:
  SharedDirectory& directory_;
  const uint64_t moffset_;
  const Napi::Promise::Deferred deferred_;
  std::string path_;
};

// fileAt(directory, moffset)
Napi::Value FileAt(const Info& info) {
  auto* worker =
      new FileAtWorker(info.Env(), DirectoryArgument(info), OffsetArgument(info, 1, "moffset"));
  const Napi::Promise promise = worker->promise();
  // Deletes itself.
  worker->Queue();
  return promise;
}

}  // namespace

void InitViewRanges(Napi::Env env, Napi::Object exports) {
  Napi::Object ranges = Napi::Object::New(env);
  ranges.Set("fileAt", Napi::Function::New(env, FileAt));
  exports.Set("viewRanges", ranges);
}

}  // namespace viewfsd
