// SPDX-License-Identifier: Apache-2.0
// The inode numbers that the guest sees. It sees one device where the host may have several: file
// systems below the share that are not announced to it, single files that are mounted there, the
// layers of an overlay. Numbers of all of them share one space there, and no two files may be
// equal.
//
// A file on the device that the guest sees it on, its home, keeps the host's number. Numbers of
// other devices go into [2^52, 2^53), which hardly any file system uses, and which still is exact
// as a double:
//
//   63      53 52 51       40 39                             0
//   |    0    | 1 |  block   |             number            |
//
// Each device has a block, found out in the order in which devices come. Numbers that don't fit a
// block, and the home's own ones that lie in a block which was given out, are put down one by one.
// What a file has got it keeps as long as the object lives, and its successors.
#ifndef VIEWFSD_INODE_NUMBERS_H_
#define VIEWFSD_INODE_NUMBERS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "host/table_memory.h"

namespace viewfsd {

class InodeNumbers {
 public:
  static size_t BytesFor() {
    return TableMemory::BytesOf<State>(1) + TableMemory::BytesOf<BlockRecord>(kBlocks) +
           TableMemory::BytesOf<SingleRecord>(kKeptSingles);
  }
  explicit InodeNumbers(TableMemory& memory)
      : state_(memory.Reserve<State>(1)),
        blocks_(memory.Reserve<BlockRecord>(kBlocks)),
        kept_(memory.Reserve<SingleRecord>(kKeptSingles)) {}

  // In tables that another process has left at any instant.
  void TakeOver();

  // The number of inode `number` of `device` for a guest that sees it on `home`. Any thread.
  uint64_t Shown(uint64_t home, uint64_t device, uint64_t number) {
    if (device == home && number >> kRangeShift != 1) return number;
    return ShownSlowly(home, device, number);
  }

 private:
  static constexpr unsigned kRangeShift = 52;
  static constexpr unsigned kBlockShift = 40;
  static constexpr size_t kBlocks = size_t{1} << (kRangeShift - kBlockShift);
  // For numbers that are put down one by one.
  static constexpr size_t kSingles = kBlocks - 1;

  // kOwn: a file has been seen that has its number from here.
  enum class Block : uint8_t { kFree, kOwn, kTaken };

  struct BlockRecord {
    // That has taken it.
    uint64_t device;
    std::atomic<Block> use;
  };
  // In the order in which they have got their numbers.
  struct SingleRecord {
    uint64_t device;
    uint64_t number;
  };
  struct State {
    // Whether any block is not free.
    std::atomic<bool> blocks;
    std::atomic<uint32_t> singles;
  };
  // 16 MiB; those beyond may change with the process.
  static constexpr size_t kKeptSingles = size_t{1} << 20;

  static uint64_t At(size_t block, uint64_t number) {
    return (uint64_t{1} << kRangeShift) | uint64_t{block} << kBlockShift | number;
  }

  uint64_t ShownSlowly(uint64_t home, uint64_t device, uint64_t number);
  // These need the mutex.
  size_t BlockOf(uint64_t device);
  uint64_t Single(uint64_t device, uint64_t number);

  std::mutex mutex_;
  State* const state_;
  BlockRecord* const blocks_;
  SingleRecord* const kept_;
  std::unordered_map<uint64_t, size_t> devices_;
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> singles_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_INODE_NUMBERS_H_
