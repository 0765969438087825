// SPDX-License-Identifier: Apache-2.0
// A guest's operations on a shared directory, and what it knows afterwards.
#ifndef VIEWFSD_TEST_TAKE_OVER_GUEST_H_
#define VIEWFSD_TEST_TAKE_OVER_GUEST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "host/shared_directory.h"

namespace viewfsd::take_over {

// Files that are there only so that the tables grow.
constexpr int kMany = 70;
// Of locks.
constexpr uint64_t kOwner = 77;

// In memory that all processes share.
struct Guest {
  // By name: 'a', 'b', ...; the directory is 'd'.
  uint64_t nodeid[128];
  uint64_t fh[128];
  uint64_t many[kMany];
  // The largest that were given out to it.
  uint64_t last_nodeid;
  uint64_t last_fh;
};

struct Served {
  SharedDirectory& directory;
  // Of the shared directory, for what the host does itself.
  int root;
  Guest& guest;
};

struct Operation {
  const char* name;
  // What comes before and is not looked at.
  void (*prepare)(const Served& served);
  // Null: to take the tables over.
  void (*run)(const Served& served);
  // A request that is not answered: a successor would serve it once more.
  bool unanswered = false;
};
const std::vector<Operation>& Operations();

// Makes the files.
void Populate(int root);

// `tables`: a memory object to take over, or -1. Null where that fails.
std::unique_ptr<SharedDirectory> Open(int root, HandleUse use, bool remembers, int tables);

// Everything that the guest has of the directory, in an order of its own. Uses it up: to be called
// in a process that ends afterwards.
std::string Observe(const Served& served);

}  // namespace viewfsd::take_over

#endif  // VIEWFSD_TEST_TAKE_OVER_GUEST_H_
