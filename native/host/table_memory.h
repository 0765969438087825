// SPDX-License-Identifier: Apache-2.0
// One mapping that holds tables as flat records: a shared memory object as large as they can
// become, in which they find each other by index. It takes memory with the first touch alone, and
// Release gives that back.
#ifndef VIEWFSD_TABLE_MEMORY_H_
#define VIEWFSD_TABLE_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "util/unique_fd.h"

// GCC and Clang tell it differently.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VIEWFSD_WITH_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define VIEWFSD_WITH_ASAN
#endif
#ifdef VIEWFSD_WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace viewfsd {

class TableMemory {
 public:
  // Whole pages on every architecture.
  static constexpr size_t kBlock = 65536;

  // What a table of so many records takes.
  template <typename Record>
  static constexpr size_t BytesOf(size_t count) {
    return (count * sizeof(Record) + kBlock - 1) / kBlock * kBlock;
  }

  // With the `file` of another one, of as many bytes: what that has left, as it is.
  explicit TableMemory(size_t bytes, UniqueFd file = UniqueFd());
  ~TableMemory();
  TableMemory(const TableMemory&) = delete;
  TableMemory& operator=(const TableMemory&) = delete;

  // 0, or as -errno why there is none; then no table may be touched.
  int error() const { return error_; }
  // The shared memory object.
  int file() const { return file_.get(); }

  // The next table, of zeros unless it has been left by another one. The sum of all must not exceed
  // what was reserved.
  template <typename Record>
  Record* Reserve(size_t count) {
    return static_cast<Record*>(Next(BytesOf<Record>(count)));
  }

  // A block's bytes become zeros, which take no memory. `begin`: of a table, or whole blocks behind
  // that.
  static void Release(void* begin);

  // For AddressSanitizer: nobody may look at these bytes, or may again. Does nothing without it.
  static void Poison(const void* begin, size_t bytes);
  static void Unpoison(const void* begin, size_t bytes);

 private:
  void* Next(size_t bytes);

  int Map();

  const size_t bytes_;
  UniqueFd file_;
  uint8_t* begin_ = nullptr;
  // Map sets what is above.
  int error_;
  size_t reserved_ = 0;
};

inline void TableMemory::Poison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t bytes) {
#ifdef VIEWFSD_WITH_ASAN
  ASAN_POISON_MEMORY_REGION(begin, bytes);
#endif
}

inline void TableMemory::Unpoison([[maybe_unused]] const void* begin,
                                  [[maybe_unused]] size_t bytes) {
#ifdef VIEWFSD_WITH_ASAN
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
#endif
}

}  // namespace viewfsd

#endif  // VIEWFSD_TABLE_MEMORY_H_
