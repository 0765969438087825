// SPDX-License-Identifier: Apache-2.0
// What a shared directory's tables begin with: which tables they are, and what of the directory
// itself another process has to know that takes them over.
#ifndef VIEWFSD_DIRECTORY_RECORD_H_
#define VIEWFSD_DIRECTORY_RECORD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace viewfsd {

struct DirectoryLimits {
  // Inodes that the guest may know.
  size_t inodes;
  // Descriptors that the guest may make the process hold: open files and directories, and inodes
  // that have no handle.
  size_t descriptors;
  // Descriptors besides, of inodes that were used last.
  size_t cached;
  // Inodes besides that the guest has forgotten and may come back to.
  size_t remembered;

  bool operator==(const DirectoryLimits&) const = default;
};

struct DirectoryRecord {
  // Of all records and where they are: to be raised with every change of either.
  static constexpr uint32_t kVersion = 2;

  // 0 until there is a root in the tables.
  std::atomic<uint32_t> version;
  // Of every nodeid that the directory gives out, so that a handle with an earlier one's means
  // nothing.
  uint32_t generation;
  // The tables' places follow from them.
  DirectoryLimits limits;
  // What the guest has agreed to; see SharedDirectory::Begin.
  std::atomic<bool> submounts;
  std::atomic<bool> exports;
  std::atomic<bool> window;
};
static_assert(std::is_standard_layout_v<DirectoryRecord>);

// Whether a process with these limits may take over the tables in `file`. 0; -EPROTO where they are
// of another version or other limits, -ENODATA where there is no root in them yet; or -errno.
// Changes nothing.
int MayTakeOver(int file, const DirectoryLimits& limits);

}  // namespace viewfsd

#endif  // VIEWFSD_DIRECTORY_RECORD_H_
