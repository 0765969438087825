// SPDX-License-Identifier: Apache-2.0
#include "memory/guest_memory.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>

#include "util/page_size.h"

namespace viewfsd {
namespace {

// No user or guest address that we could map reaches this; below it, sums of two don't wrap.
constexpr uint64_t kAddressLimit = uint64_t{1} << 56;

bool SameRegion(const Region& region, const RegionDescription& wanted, const struct stat& file) {
  const RegionDescription& have = region.description();
  return have.guest_address == wanted.guest_address && have.size == wanted.size &&
         have.user_address == wanted.user_address && have.mmap_offset == wanted.mmap_offset &&
         region.device() == file.st_dev && region.inode() == file.st_ino;
}

}  // namespace

std::shared_ptr<const Region> Region::Map(const RegionDescription& description, int fd,
                                          bool may_be_short, int* error) {
  struct stat file;
  struct statfs file_system;
  if (fstat(fd, &file) != 0 || fstatfs(fd, &file_system) != 0) {
    *error = errno;
    return nullptr;
  }
  const bool memory = file_system.f_type == TMPFS_MAGIC || file_system.f_type == HUGETLBFS_MAGIC;
  if (memory && !may_be_short && static_cast<uint64_t>(file.st_size) <= description.mmap_offset) {
    *error = ENXIO;
    return nullptr;
  }
  // hugetlbfs wants offset and length in its own page size, which is its block size.
  const uint64_t page = file_system.f_type == HUGETLBFS_MAGIC
                            ? static_cast<uint64_t>(file_system.f_bsize)
                            : PageSize();
  const uint64_t lead = description.mmap_offset % page;
  const uint64_t size = (lead + description.size + page - 1) / page * page;
  void* base = MAP_FAILED;
  for (const int protection : {PROT_READ | PROT_WRITE, PROT_READ}) {
    base = mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, fd,
                static_cast<off_t>(description.mmap_offset - lead));
    if (base != MAP_FAILED || errno != EACCES) break;
  }
  if (base == MAP_FAILED) {
    *error = errno;
    return nullptr;
  }
  madvise(base, size, MADV_DONTDUMP);
  std::shared_ptr<Region> region(new Region());
  region->description_ = description;
  region->map_base_ = base;
  region->map_size_ = size;
  region->host_ = static_cast<uint8_t*>(base) + lead;
  region->device_ = file.st_dev;
  region->inode_ = file.st_ino;
  return region;
}

Region::~Region() {
  if (map_base_ != nullptr) munmap(map_base_, map_size_);
}

MemoryTable::MemoryTable(std::vector<std::shared_ptr<const Region>> regions)
    : regions_(std::move(regions)) {
  std::sort(regions_.begin(), regions_.end(), [](const auto& a, const auto& b) {
    return a->description().guest_address < b->description().guest_address;
  });
}

int MemoryTable::Check(const std::vector<RegionDescription>& descriptions) {
  std::vector<RegionDescription> sorted = descriptions;
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.guest_address < b.guest_address; });
  uint64_t end = 0;
  for (const RegionDescription& region : sorted) {
    if (region.size == 0 || region.size >= kAddressLimit || region.guest_address >= kAddressLimit ||
        region.user_address >= kAddressLimit || region.mmap_offset >= kAddressLimit ||
        region.mmap_offset % PageSize() != 0 || region.guest_address < end)
      return EINVAL;
    end = region.guest_address + region.size;
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.user_address < b.user_address; });
  end = 0;
  for (const RegionDescription& region : sorted) {
    if (region.user_address < end) return EINVAL;
    end = region.user_address + region.size;
  }
  return 0;
}

uint8_t* MemoryTable::FromGuest(uint64_t guest_address, uint64_t size, uint64_t* contiguous) const {
  auto after = std::upper_bound(regions_.begin(), regions_.end(), guest_address,
                                [](uint64_t address, const auto& region) {
                                  return address < region->description().guest_address;
                                });
  if (after == regions_.begin()) return nullptr;
  const Region& region = **std::prev(after);
  const uint64_t offset = guest_address - region.description().guest_address;
  if (offset >= region.description().size) return nullptr;
  *contiguous = std::min(size, region.description().size - offset);
  return region.host() + offset;
}

bool MemoryTable::ToGuest(const uint8_t* host, uint64_t* guest_address) const {
  for (const auto& region : regions_) {
    const uintptr_t offset =
        reinterpret_cast<uintptr_t>(host) - reinterpret_cast<uintptr_t>(region->host());
    if (offset >= region->description().size) continue;
    *guest_address = region->description().guest_address + offset;
    return true;
  }
  return false;
}

const Region* MemoryTable::FindUser(uint64_t user_address, uint64_t size) const {
  for (const auto& region : regions_) {
    const RegionDescription& description = region->description();
    if (user_address >= description.user_address &&
        user_address - description.user_address <= description.size &&
        size <= description.size - (user_address - description.user_address))
      return region.get();
  }
  return nullptr;
}

bool MemoryTable::HoldsFile(dev_t device, ino_t inode, uint64_t size) const {
  std::vector<std::pair<uint64_t, uint64_t>> parts;
  for (const auto& region : regions_) {
    if (region->device() != device || region->inode() != inode) continue;
    parts.emplace_back(region->description().mmap_offset,
                       region->description().mmap_offset + region->description().size);
  }
  std::sort(parts.begin(), parts.end());
  uint64_t held = 0;
  for (const auto& [from, to] : parts) {
    if (from > held) break;
    held = std::max(held, to);
  }
  return held >= size;
}

GuestMemory::GuestMemory(std::function<bool(dev_t, ino_t)> is_window)
    : is_window_(std::move(is_window)),
      table_(std::make_shared<MemoryTable>(std::vector<std::shared_ptr<const Region>>())) {}

Snapshot GuestMemory::Get(uint64_t* generation) const {
  const std::lock_guard lock(mutex_);
  if (generation != nullptr) *generation = generation_.load(std::memory_order_relaxed);
  return table_;
}

void GuestMemory::Publish(std::vector<std::shared_ptr<const Region>> regions) {
  Snapshot next = std::make_shared<MemoryTable>(std::move(regions));
  {
    const std::lock_guard lock(mutex_);
    table_.swap(next);
    generation_.fetch_add(1, std::memory_order_release);
  }
  changed_.notify_all();
  // `next` now is the old table: munmap happens here, outside of the lock.
}

int GuestMemory::SetTable(const std::vector<RegionDescription>& descriptions,
                          const std::vector<int>& fds) {
  if (descriptions.size() != fds.size()) return EINVAL;
  if (const int error = MemoryTable::Check(descriptions)) return error;
  const Snapshot old = Get();
  std::vector<std::shared_ptr<const Region>> regions;
  for (size_t i = 0; i < descriptions.size(); i++) {
    struct stat file;
    if (fstat(fds[i], &file) != 0) return errno;
    std::shared_ptr<const Region> region;
    for (const auto& candidate : old->regions())
      if (SameRegion(*candidate, descriptions[i], file)) region = candidate;
    int error = 0;
    if (region == nullptr)
      region = Region::Map(descriptions[i], fds[i], is_window_(file.st_dev, file.st_ino), &error);
    if (region == nullptr) return error;
    regions.push_back(std::move(region));
  }
  Publish(std::move(regions));
  return 0;
}

int GuestMemory::AddRegion(const RegionDescription& description, int fd) {
  std::vector<std::shared_ptr<const Region>> regions = Get()->regions();
  std::vector<RegionDescription> descriptions = {description};
  for (const auto& region : regions) descriptions.push_back(region->description());
  if (const int error = MemoryTable::Check(descriptions)) return error;
  struct stat file;
  if (fstat(fd, &file) != 0) return errno;
  int error = 0;
  std::shared_ptr<const Region> region =
      Region::Map(description, fd, is_window_(file.st_dev, file.st_ino), &error);
  if (region == nullptr) return error;
  regions.push_back(std::move(region));
  Publish(std::move(regions));
  return 0;
}

int GuestMemory::RemoveRegion(const RegionDescription& description) {
  std::vector<std::shared_ptr<const Region>> regions = Get()->regions();
  const auto matches = [&](const std::shared_ptr<const Region>& region) {
    const RegionDescription& have = region->description();
    return have.guest_address == description.guest_address && have.size == description.size &&
           have.user_address == description.user_address;
  };
  const auto found = std::find_if(regions.begin(), regions.end(), matches);
  if (found == regions.end()) return ENOENT;
  regions.erase(found);
  Publish(std::move(regions));
  return 0;
}

void GuestMemory::Clear() { Publish({}); }

int GuestMemory::WaitFor(const std::function<bool(const MemoryTable&)>& holds,
                         std::chrono::steady_clock::time_point deadline,
                         const std::function<bool()>& interrupted) const {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (interrupted()) return EINTR;
    if (holds(*table_)) return 0;
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout)
      return holds(*table_) ? 0 : ETIMEDOUT;
  }
}

int GuestMemory::WaitForFile(dev_t device, ino_t inode, uint64_t size,
                             std::chrono::steady_clock::time_point deadline,
                             const std::function<bool()>& interrupted) const {
  return WaitFor([=](const MemoryTable& table) { return table.HoldsFile(device, inode, size); },
                 deadline, interrupted);
}

void GuestMemory::WakeWaiters() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

}  // namespace viewfsd
