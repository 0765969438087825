// SPDX-License-Identifier: Apache-2.0
#include "fuzz/guest.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "fuzz/check.h"

namespace viewfsd::fuzz {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kTotal = 40 * kPage;

// {GPA, size, frontend's address, offset in the memfd}
constexpr std::array<RegionDescription, kRegionCount> kRegions = {{
    {0x10000, 16 * kPage, kUserBase + 0x10000, 0},
    {0x20000, 8 * kPage - 0x100, kUserBase + 0x20000, 17 * kPage},
    {0x40000, 3 * kPage + 0x80, kUserBase + 0x40000, 26 * kPage},
    {0x100000, 4 * kPage, kUserBase + 0x100000, 32 * kPage},
}};

constexpr size_t kSecretBytes = 8;
uint8_t secret[kSecretBytes];

// The memfd as it is at first.
const std::vector<uint8_t>& Pristine() {
  static const std::vector<uint8_t> pristine = [] {
    std::vector<uint8_t> bytes(kTotal);
    FillSecret(bytes.data(), kTotal);
    for (const RegionDescription& region : kRegions)
      memset(bytes.data() + region.mmap_offset, 0, region.size);
    return bytes;
  }();
  return pristine;
}

// Not memmem: the fuzzer sees what that compares, and would put the secret into its inputs.
bool HoldsSecret(const uint8_t* bytes, size_t size) {
  uint64_t wanted, word;
  memcpy(&wanted, secret, kSecretBytes);
  for (size_t i = 0; i + kSecretBytes <= size; i++) {
    __builtin_memcpy(&word, bytes + i, kSecretBytes);
    if (word == wanted) return true;
  }
  return false;
}

}  // namespace

void FillSecret(uint8_t* bytes, size_t size) {
  static const bool made = [] {
    FUZZ_CHECK(getrandom(secret, sizeof(secret), 0) == sizeof(secret));
    return true;
  }();
  (void)made;
  for (size_t i = 0; i < size; i++) bytes[i] = secret[i % kSecretBytes];
}

Guest::Guest() : memfd_(memfd_create("guest", MFD_CLOEXEC)), size_(kTotal) {
  FUZZ_CHECK(ftruncate(memfd_.get(), kTotal) == 0);
  void* map = mmap(nullptr, kTotal, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0);
  FUZZ_CHECK(map != MAP_FAILED);
  bytes_ = static_cast<uint8_t*>(map);
  memcpy(bytes_, Pristine().data(), kTotal);
  present_.fill(true);
}

Guest::~Guest() { munmap(bytes_, kTotal); }

const std::array<RegionDescription, kRegionCount>& Guest::regions() { return kRegions; }

void Guest::Truncate(size_t size) {
  const size_t before = size_;
  size_ = std::min(size, kTotal);
  FUZZ_CHECK(ftruncate(memfd_.get(), static_cast<off_t>(size_)) == 0);
  // What comes back is new.
  if (size_ > before) memcpy(bytes_ + before, Pristine().data() + before, size_ - before);
}

std::optional<size_t> Guest::Locate(uint64_t address, size_t size, size_t* contiguous,
                                    bool removed_too) const {
  for (size_t i = 0; i < kRegionCount; i++) {
    const RegionDescription& region = kRegions[i];
    if ((!present_[i] && !removed_too) || address < region.guest_address ||
        address - region.guest_address >= region.size)
      continue;
    const uint64_t offset = address - region.guest_address;
    *contiguous = std::min<uint64_t>(size, region.size - offset);
    return region.mmap_offset + offset;
  }
  return std::nullopt;
}

bool Guest::Read(uint64_t address, void* bytes, size_t size) const {
  auto* out = static_cast<uint8_t*>(bytes);
  while (size > 0) {
    size_t contiguous = 0;
    const std::optional<size_t> place = Locate(address, size, &contiguous);
    if (!place.has_value() || *place + contiguous > size_) return false;
    memcpy(out, bytes_ + *place, contiguous);
    out += contiguous;
    address += contiguous;
    size -= contiguous;
  }
  return true;
}

bool Guest::Write(uint64_t address, const void* bytes, size_t size) {
  const auto* in = static_cast<const uint8_t*>(bytes);
  while (size > 0) {
    size_t contiguous = 0;
    const std::optional<size_t> place = Locate(address, size, &contiguous);
    if (!place.has_value() || *place + contiguous > size_) return false;
    memcpy(bytes_ + *place, in, contiguous);
    in += contiguous;
    address += contiguous;
    size -= contiguous;
  }
  return true;
}

std::optional<Chain> Guest::Parse(const RingPlace& ring, uint16_t index, bool indirect) const {
  Chain chain;
  if (!Read(ring.available + 4 + 2 * (index % ring.size), &chain.head, 2)) return std::nullopt;
  uint64_t table = ring.descriptors;
  uint32_t entries = ring.size;
  uint32_t next = chain.head;
  bool inside = false;
  for (size_t count = 0; count < 1024;) {
    uint8_t raw[16];
    if (next >= entries || !Read(table + 16 * uint64_t{next}, raw, sizeof(raw)))
      return std::nullopt;
    uint64_t address;
    uint32_t length;
    uint16_t flags, following;
    memcpy(&address, raw, 8);
    memcpy(&length, raw + 8, 4);
    memcpy(&flags, raw + 12, 2);
    memcpy(&following, raw + 14, 2);
    if ((flags & 4) != 0) {
      if (!indirect || inside || (flags & 1) != 0 || length == 0 || length % 16 != 0)
        return std::nullopt;
      inside = true;
      table = address;
      entries = length / 16;
      next = 0;
      continue;
    }
    count++;
    if ((flags & 2) != 0)
      chain.writable.push_back({address, length});
    else if (!chain.writable.empty())
      return std::nullopt;
    else
      chain.readable.push_back({address, length});
    if ((flags & 1) == 0) return chain;
    next = following;
  }
  return std::nullopt;
}

std::optional<std::vector<uint8_t>> Guest::Gather(const std::vector<Segment>& segments,
                                                  uint64_t offset, uint64_t size) const {
  std::vector<uint8_t> all;
  for (const Segment& segment : segments) {
    if (size == 0) break;
    if (offset >= segment.length) {
      offset -= segment.length;
      continue;
    }
    const uint64_t part = std::min<uint64_t>(segment.length - offset, size);
    if (part > kTotal) return std::nullopt;
    const size_t at = all.size();
    all.resize(at + part);
    if (!Read(segment.address + offset, all.data() + at, part)) return std::nullopt;
    size -= part;
    offset = 0;
  }
  if (size > 0) return std::nullopt;
  return all;
}

void Guest::Remember() { before_.assign(bytes_, bytes_ + size_); }

void Guest::CheckChanges(const std::vector<Segment>& allowed) const {
  FUZZ_CHECK(before_.size() == size_);
  // Ranges of the memfd.
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const Segment& segment : allowed) {
    uint64_t address = segment.address;
    uint64_t left = segment.length;
    size_t contiguous = 0;
    while (left > 0) {
      const std::optional<size_t> place = Locate(address, left, &contiguous, true);
      if (!place.has_value()) break;
      ranges.emplace_back(*place, *place + contiguous);
      address += contiguous;
      left -= contiguous;
    }
  }
  constexpr size_t kBlock = 256;
  for (size_t block = 0; block < size_; block += kBlock) {
    if (memcmp(&before_[block], &bytes_[block], kBlock) == 0) continue;
    for (size_t i = block; i < block + kBlock; i++) {
      const auto holds = [i](const auto& range) { return range.first <= i && i < range.second; };
      FUZZ_CHECK(before_[i] == bytes_[i] || std::any_of(ranges.begin(), ranges.end(), holds));
    }
  }
}

void Guest::CheckSecrets() const {
  FUZZ_CHECK(size_ == kTotal);
  size_t end = 0;
  for (const RegionDescription& region : kRegions) {
    FUZZ_CHECK(memcmp(bytes_ + end, Pristine().data() + end, region.mmap_offset - end) == 0);
    FUZZ_CHECK(!HoldsSecret(bytes_ + region.mmap_offset, region.size));
    end = region.mmap_offset + region.size;
  }
  FUZZ_CHECK(memcmp(bytes_ + end, Pristine().data() + end, kTotal - end) == 0);
}

}  // namespace viewfsd::fuzz
