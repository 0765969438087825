// SPDX-License-Identifier: Apache-2.0
// What the window shows, for JavaScript; declared in native/view-ranges.ts.
#include "binding/window_files.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "host/file_syscalls.h"
#include "host/shared_directory.h"

namespace viewfsd {

namespace {

// What is copied while nobody can map.
constexpr size_t kAtOnce = 256;

struct FileInWindow {
  uint64_t nodeid = 0;
  // As stat(2) has it; 0 where the guest has forgotten it.
  uint64_t device = 0;
  uint64_t number = 0;
  std::string path;
  uint64_t total = 0;
  std::vector<MappedRange> ranges;
};

Napi::Value UseObject(Napi::Env env, const std::optional<WindowUse>& use) {
  if (!use) return env.Undefined();
  Napi::Object object = Napi::Object::New(env);
  object.Set("faults", Napi::Number::New(env, static_cast<double>(use->faults)));
  object.Set("mappedBytes", Napi::Number::New(env, static_cast<double>(use->mapped)));
  object.Set("hugeBytes", Napi::Number::New(env, static_cast<double>(use->huge)));
  return object;
}

// Looks at inodes, for which the calling thread must not wait. Nor does this one where it can be
// seen that it would have to: such files have no path then.
class WindowFilesWorker : public Napi::AsyncWorker {
 public:
  WindowFilesWorker(Napi::Env env, SharedDirectory& directory, std::vector<uint64_t> nodeids,
                    size_t most_files, size_t most_ranges, uint64_t window_size, uint32_t cells)
      : Napi::AsyncWorker(env),
        directory_(directory),
        nodeids_(std::move(nodeids)),
        most_files_(most_files),
        most_ranges_(most_ranges),
        window_size_(window_size),
        cell_(cells == 0 ? 0 : window_size / cells),
        mapped_(cells),
        deferred_(env) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    std::map<uint64_t, FileInWindow> by_nodeid;
    for (const uint64_t nodeid : nodeids_) by_nodeid[nodeid].nodeid = nodeid;
    size_t left = most_ranges_;
    uint64_t next = 0;
    for (;;) {
      const std::vector<MappedRange> part = directory_.mapped_ranges().From(next, kAtOnce);
      for (const MappedRange& mapped : part) {
        FileInWindow& file = by_nodeid[mapped.nodeid];
        file.nodeid = mapped.nodeid;
        file.total++;
        Draw(mapped.range);
        if (left == 0) continue;
        left--;
        file.ranges.push_back(mapped);
        uses_[mapped.range.moffset] = Use({mapped.range.moffset, mapped.range.length});
      }
      if (part.size() < kAtOnce) break;
      next = part.back().range.moffset + part.back().range.length;
    }
    if (window_size_ > 0) all_ = Use({0, window_size_});
    for (auto& [nodeid, file] : by_nodeid) files_.push_back(std::move(file));
    // Those that were asked for, then those that have most.
    const auto asked = [this](const FileInWindow& file) {
      return std::ranges::find(nodeids_, file.nodeid) != nodeids_.end();
    };
    std::ranges::stable_sort(files_, [&](const FileInWindow& one, const FileInWindow& other) {
      return asked(one) != asked(other) ? asked(one) : one.total > other.total;
    });
    if (files_.size() > most_files_) files_.resize(most_files_);
    for (FileInWindow& file : files_) Describe(file);
  }

  void OnOK() override {
    const auto number = [this](uint64_t value) {
      return Napi::Number::New(Env(), static_cast<double>(value));
    };
    Napi::Array result = Napi::Array::New(Env());
    for (const FileInWindow& file : files_) {
      Napi::Array ranges = Napi::Array::New(Env());
      for (const MappedRange& mapped : file.ranges) {
        Napi::Object range = Napi::Object::New(Env());
        range.Set("windowOffset", number(mapped.range.moffset));
        range.Set("fileOffset", number(mapped.range.foffset));
        range.Set("bytes", number(mapped.range.length));
        range.Set("writable", mapped.writable);
        range.Set("use", UseObject(Env(), uses_.at(mapped.range.moffset)));
        ranges.Set(ranges.Length(), range);
      }
      Napi::Object object = Napi::Object::New(Env());
      object.Set("nodeid", number(file.nodeid));
      object.Set("device", number(file.device));
      // As JavaScript's stat has it.
      object.Set("inode", number(file.number));
      object.Set("path", file.path);
      object.Set("rangeCount", number(file.total));
      object.Set("ranges", ranges);
      result.Set(result.Length(), object);
    }
    Napi::Array mapped = Napi::Array::New(Env());
    for (const uint64_t bytes : mapped_) mapped.Set(mapped.Length(), number(bytes));
    Napi::Object window = Napi::Object::New(Env());
    window.Set("files", result);
    window.Set("mapped", mapped);
    window.Set("use", UseObject(Env(), all_));
    deferred_.Resolve(window);
  }

 private:
  std::optional<WindowUse> Use(const WindowPart& part) const {
    const Window* window = directory_.window();
    WindowUse use;
    return window != nullptr && window->Use(part, &use) ? std::optional(use) : std::nullopt;
  }

  void Draw(const WindowRange& range) {
    const uint64_t end = range.moffset + range.length;
    for (uint64_t at = range.moffset; cell_ != 0 && at < end && at / cell_ < mapped_.size();) {
      const uint64_t next = std::min(end, (at / cell_ + 1) * cell_);
      mapped_[at / cell_] += next - at;
      at = next;
    }
  }

  void Describe(FileInWindow& file) {
    const InodeRef inode = directory_.inodes().Get(file.nodeid);
    if (inode == nullptr) return;
    const InodeKey key = inode->key();
    file.device =
        makedev(static_cast<unsigned>(key.device >> 32), static_cast<unsigned>(key.device));
    file.number = key.number;
    if (!inode->mount()->MayWait()) file.path = DescribePath(directory_, file.nodeid);
  }

  SharedDirectory& directory_;
  const std::vector<uint64_t> nodeids_;
  const size_t most_files_;
  const size_t most_ranges_;
  const uint64_t window_size_;
  // Bytes of each of the equal parts that the window is drawn as, and of those what is mapped.
  const uint64_t cell_;
  std::vector<uint64_t> mapped_;
  std::vector<FileInWindow> files_;
  // By offset in the window; and all of it.
  std::map<uint64_t, std::optional<WindowUse>> uses_;
  std::optional<WindowUse> all_;
  const Napi::Promise::Deferred deferred_;
};

// windowFiles(directory, nodeids, mostFiles, mostRanges, windowSize, cells)
Napi::Value WindowFiles(const Napi::CallbackInfo& info) {
  SharedDirectory& directory = DirectoryArgument(info, 0);
  if (!info[1].IsArray()) throw Napi::TypeError::New(info.Env(), "nodeids must be an array");
  const auto array = info[1].As<Napi::Array>();
  std::vector<uint64_t> nodeids;
  for (uint32_t i = 0; i < array.Length(); i++)
    nodeids.push_back(static_cast<uint64_t>(array.Get(i).ToNumber().Int64Value()));
  auto* worker =
      new WindowFilesWorker(info.Env(), directory, std::move(nodeids),
                            static_cast<size_t>(IntegerArgument(info, 2, "mostFiles", 0, 1 << 20)),
                            static_cast<size_t>(IntegerArgument(info, 3, "mostRanges", 0, 1 << 20)),
                            OffsetArgument(info, 4, "windowSize"),
                            static_cast<uint32_t>(IntegerArgument(info, 5, "cells", 0, 4096)));
  const Napi::Promise promise = worker->promise();
  // Deletes itself.
  worker->Queue();
  return promise;
}

// rangesWantedAgain(directory)
Napi::Value RangesWantedAgain(const Napi::CallbackInfo& info) {
  const uint64_t ranges = DirectoryArgument(info, 0).mapped_ranges().wanted_again();
  return Napi::Number::New(info.Env(), static_cast<double>(ranges));
}

}  // namespace

void InitWindowFiles(Napi::Env env, Napi::Object exports) {
  exports.Set("rangesWantedAgain", Napi::Function::New(env, RangesWantedAgain));
  exports.Set("windowFiles", Napi::Function::New(env, WindowFiles));
}

}  // namespace viewfsd
