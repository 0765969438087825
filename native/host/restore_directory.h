// SPDX-License-Identifier: Apache-2.0
// Makes a guest that has been moved here know what it has known elsewhere: save_directory.h.
#ifndef VIEWFSD_RESTORE_DIRECTORY_H_
#define VIEWFSD_RESTORE_DIRECTORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "host/file_handle.h"
#include "host/save_directory.h"
#include "host/shared_directory.h"

namespace viewfsd {

struct RestoredInode {
  uint64_t nodeid = 0;
  uint64_t lookups = 0;
  // From the shared directory on: of the inode; or, where it is opened by `handle`, of its mount's
  // root. Empty where the sender has lost it.
  std::string path;
  // If not empty.
  FileHandle handle;
  // What its handle has to be, if not empty.
  FileHandle expected;
};

struct RestoredDirectory {
  // Those above others first.
  std::vector<RestoredInode> inodes;
  std::vector<SavedHandle> handles;
  // Above all of theirs.
  uint64_t next_nodeid = 0;
  uint64_t next_fh = 0;
  // 0: this process's own.
  uint32_t generation = 0;
};

struct Lost {
  // Nodeid or fh.
  uint64_t id;
  // An errno.
  int error;
};
struct LostParts {
  std::vector<Lost> inodes;
  std::vector<Lost> handles;
};

// To be called between Reset and Begin. Nothing in `state` is trusted: names are looked up one by
// one, as a guest's are, and inodes are opened by handle only as `state` says. Inodes that are not
// found become LostInodes. May take long.
LostParts RestoreDirectory(SharedDirectory& directory, const RestoredDirectory& state);

}  // namespace viewfsd

#endif  // VIEWFSD_RESTORE_DIRECTORY_H_
