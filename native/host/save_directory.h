// SPDX-License-Identifier: Apache-2.0
// What the guest knows of a shared directory, in a form in which another process, perhaps on
// another machine, can find it again: restore_directory.h.
#ifndef VIEWFSD_SAVE_DIRECTORY_H_
#define VIEWFSD_SAVE_DIRECTORY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "host/file_handle.h"
#include "host/shared_directory.h"

namespace viewfsd {

struct SavedInode {
  uint64_t nodeid = 0;
  uint64_t lookups = 0;
  // From the shared directory on; empty for that itself, and where there is none.
  std::string path;
  // Empty where it was not asked for, or can't be had.
  FileHandle handle;
  uint64_t mount = 0;

  bool lost() const { return path.empty() && handle.empty(); }
};

struct SavedHandle {
  uint64_t fh;
  uint64_t nodeid;
  // Of open(2).
  int flags;
};

struct SavedDirectory {
  // Without the root.
  std::vector<SavedInode> inodes;
  std::vector<SavedHandle> handles;
  // The next ones that would be given out.
  uint64_t next_nodeid = 0;
  uint64_t next_fh = 0;
  uint32_t generation = 0;
  // Where mounts that handles are of have their roots, from the shared directory on; "." for the
  // share's own.
  std::map<uint64_t, std::string> mount_paths;
  // How many inodes could only be found by looking through the whole share.
  size_t searched = 0;
  // An errno of writing out what the guest has written to open files, or 0.
  int write_error = 0;
};

// What is saved of each inode.
struct SaveWish {
  // By path, which is looked up again; or else by handle alone.
  bool paths;
  // With paths: the handle, too, so that another inode is not taken for this one.
  bool handles;
};

// What the guest has written to open files is where another host that opens them finds it. No
// request is under way meanwhile. May take long.
SavedDirectory SaveDirectory(SharedDirectory& directory, const SaveWish& wish);

}  // namespace viewfsd

#endif  // VIEWFSD_SAVE_DIRECTORY_H_
