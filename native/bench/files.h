// SPDX-License-Identifier: Apache-2.0
// What lies in the shared directory.
#ifndef VIEWFSD_BENCH_FILES_H_
#define VIEWFSD_BENCH_FILES_H_

#include <cstdint>
#include <string>

namespace viewfsd::bench {

constexpr uint32_t kFew = 1000;
constexpr uint32_t kMany = 100'000;
// few/ and many/ have files named by number.
inline std::string FileName(uint32_t number) { return "file" + std::to_string(number); }

// data: each word says where it is. written: a part of it for each slot.
constexpr uint64_t kDataSize = 64 << 20;
constexpr uint64_t Word(uint64_t offset) { return offset * 0x9e3779b97f4a7c15 + 1; }

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_FILES_H_
