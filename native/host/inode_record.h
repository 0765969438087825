// SPDX-License-Identifier: Apache-2.0
// An inode that the guest knows as a flat record of two cache lines, the first of which is all that
// most requests read. What names another record is its index; 0 is none.
//
// A record counts from the moment that `listed` is set, with one store, and until it is cleared;
// what else refers to it (indexes, lists, the descriptor cache, references) follows from the listed
// records, but for the use that requests under way make of it.
#ifndef VIEWFSD_INODE_RECORD_H_
#define VIEWFSD_INODE_RECORD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "host/file_handle.h"
#include "host/freshness.h"

namespace viewfsd {

struct alignas(64) InodeRecord {
  // Handles of this many bytes fit; the rest of longer ones has a record of its own.
  static constexpr size_t kHandleBytes = 28;

  uint64_t nodeid = 0;
  uint64_t number = 0;
  ToldVersion told;
  // 0 for one that is only remembered.
  uint64_t lookups = 1;
  uint32_t next_by_nodeid = 0;
  uint32_t next_by_key = 0;
  // The table's own, as long as the record is listed, and one for each InodeRef.
  std::atomic<uint32_t> references = 1;
  // The descriptor that it holds, or -1.
  int32_t held = -1;
  // Its place in the cache of descriptors.
  uint32_t cached = 0;
  // MountSlots.
  uint32_t mount = 0;
  // S_IFMT bits.
  uint16_t type = 0;
  std::atomic<bool> listed = false;
  // The mount finds it: the shared directory, or what a mount point names.
  bool mount_root = false;
  bool submount = false;
  // An inode with the same number and birth time is this one, without asking for its handle.
  bool known_by_birth = false;
  // A later inode has got the number.
  bool replaced = false;
  // 0 for one without.
  uint8_t handle_size = 0;

  // InodeFacts.
  uint64_t device = 0;
  uint64_t home = 0;
  int64_t birth = 0;
  // How often the guest has it open for writing; counted only where there is a memory view.
  std::atomic<uint32_t> writers = 0;
  // Neighbours among those that are remembered.
  uint32_t older = 0;
  uint32_t newer = 0;
  uint8_t handle[kHandleBytes] = {};
};

// The bytes of a handle that do not fit an InodeRecord. Its index is in there.
struct LongHandle {
  uint8_t bytes[FileHandle::kMaxBytes - 1];
};

// What a successor of this process, or one that only reads it, shall find there.
static_assert(sizeof(InodeRecord) == 128 && offsetof(InodeRecord, device) == 64);
static_assert(std::is_standard_layout_v<InodeRecord>);
static_assert(std::is_trivially_destructible_v<InodeRecord>);
static_assert(std::atomic<bool>::is_always_lock_free);
static_assert(sizeof(LongHandle) == 128);

}  // namespace viewfsd

#endif  // VIEWFSD_INODE_RECORD_H_
