// SPDX-License-Identifier: Apache-2.0
#include "host/freshness.h"

#include <linux/magic.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "host/shared_directory.h"

namespace viewfsd {

namespace {

// Seconds. Linux' clock for time stamps ticks every few milliseconds, but old ext4 inodes have
// room for seconds alone.
constexpr int64_t kOwnGrain = 2;
// Of times that another machine, or a program, has given.
constexpr int64_t kForeignGrain = 24 * 3600;

// Of file systems that linux/magic.h has no name for.
constexpr uint32_t kFuseMagic = 0x65735546;
constexpr uint32_t kConfigfsMagic = 0x62656570;
constexpr uint32_t kRpcPipefsMagic = 0x67596969;
constexpr uint32_t kFusectlMagic = 0x65735543;
constexpr uint32_t kResctrlMagic = 0x7655821;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 32);
}

uint64_t Mix(uint64_t hash, const statx_timestamp& time) {
  return Mix(Mix(hash, static_cast<uint64_t>(time.tv_sec)), time.tv_nsec);
}

bool IsPseudo(uint32_t type) {
  switch (type) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case SELINUX_MAGIC:
    case SMACK_MAGIC:
    case BPF_FS_MAGIC:
    case EFIVARFS_MAGIC:
    case BINFMTFS_MAGIC:
    case NSFS_MAGIC:
    case kConfigfsMagic:
    case kRpcPipefsMagic:
    case kFusectlMagic:
    case kResctrlMagic:
      return true;
    default:
      return false;
  }
}

uint32_t FileSystemType(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 ? static_cast<uint32_t>(status.f_type) : 0;
}

// Only what has no blocks can have a size that says nothing, which spares most opens the question.
// A program that serves a FUSE file system often gives no sizes, but its empty files may be what
// they seem, and someone who writes to one may want to map it next.
bool IsUnsized(int fd, const struct statx& status, bool reads_only) {
  if (!S_ISREG(status.stx_mode) || status.stx_blocks != 0) return false;
  const uint32_t type = FileSystemType(fd);
  return IsPseudo(type) || (type == kFuseMagic && status.stx_size == 0 && reads_only);
}

}  // namespace

bool IsPseudoFileSystem(int fd) { return IsPseudo(FileSystemType(fd)); }

uint64_t ToldVersion::VersionOf(const struct statx& status) {
  const uint64_t shape = Mix(Mix(0, status.stx_size), status.stx_mtime);
  const uint64_t change = Mix(0, status.stx_ctime);
  return (shape & kShape) | ((change << 28) & kVersion);
}

void ToldVersion::Tell(const struct statx& status) {
  const uint64_t version = VersionOf(status);
  uint64_t old = word_.load(std::memory_order_relaxed);
  if (old == version) return;
  uint64_t wanted;
  do wanted = (old & kVersion) == version ? old & ~kGuestAsks : version;
  while (!word_.compare_exchange_weak(old, wanted, std::memory_order_relaxed));
}

void ToldVersion::CountLookup() {
  uint64_t old = word_.load(std::memory_order_relaxed);
  while ((old & kListingKept) != 0 && old / kOneLookup < kManyLookups &&
         !word_.compare_exchange_weak(old, old + kOneLookup, std::memory_order_relaxed)) {
  }
}

bool ToldVersion::KeepListing(KeptListings& listings, bool again) {
  if (!again && (word_.load(std::memory_order_relaxed) & kListingKept) != 0) listings.Reward();
  const bool keeps = again || listings.Try();
  if (keeps) word_.fetch_or(kListingKept, std::memory_order_relaxed);
  return keeps;
}

ToldVersion::Verdict ToldVersion::Compare(const struct statx& status, bool certain) {
  uint64_t old = word_.load(std::memory_order_relaxed);
  const uint64_t difference = (old ^ VersionOf(status)) & kVersion;
  if (difference != 0) {
    const bool knows = old == 0 || (old & kGuestAsks) != 0;
    return (difference & kShape) != 0 && !knows ? Verdict::kOtherSize : Verdict::kOther;
  }
  if ((old & kSettled) != 0 && old / kOneLookup < kManyLookups) return Verdict::kSame;
  // Another thread may have told something else meanwhile: the next open is early enough.
  if (certain) word_.compare_exchange_strong(old, old | kSettled, std::memory_order_relaxed);
  return Verdict::kOther;
}

bool KeptListings::NoteOpen(uint64_t nodeid) {
  for (const std::atomic<uint64_t>& last : last_)
    if (last.load(std::memory_order_relaxed) == nodeid) return true;
  const uint32_t place = next_.fetch_add(1, std::memory_order_relaxed);
  last_[place % last_.size()].store(nodeid, std::memory_order_relaxed);
  return false;
}

void KeptListings::Clear() {
  credit_.store(0, std::memory_order_relaxed);
  for (std::atomic<uint64_t>& last : last_) last.store(0, std::memory_order_relaxed);
}

bool KeptListings::Try() {
  const int32_t credit = credit_.fetch_sub(1, std::memory_order_relaxed);
  if (credit > -kSeldom) return credit > 0;
  credit_.store(0, std::memory_order_relaxed);
  return true;
}

void KeptListings::Reward() {
  const int32_t credit = std::max(credit_.load(std::memory_order_relaxed), 0);
  credit_.store(std::min(credit + 2, kMost), std::memory_order_relaxed);
}

bool Reopens::Add(uint64_t nodeid, uint32_t pid) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  const std::lock_guard lock(mutex_);
  std::erase_if(opens_, [&](const Open& open) { return now.tv_sec - open.since > kPatience; });
  const bool room = opens_.size() < kMaxOpens;
  if (room) opens_.push_back({nodeid, pid, now.tv_sec});
  count_.store(opens_.size());
  return room;
}

bool Reopens::Take(uint64_t nodeid, uint32_t pid) {
  // An open comes long after the reply that made it.
  if (count_.load() == 0) return false;
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(opens_.begin(), opens_.end(), [&](const Open& open) {
    return open.nodeid == nodeid && open.pid == pid;
  });
  if (found == opens_.end()) return false;
  opens_.erase(found);
  count_.store(opens_.size());
  return true;
}

void Reopens::Clear() {
  const std::lock_guard lock(mutex_);
  opens_.clear();
  count_.store(0);
}

bool CertainlySeen(const Inode& inode, const struct statx& status) {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  const int64_t age = now.tv_sec - status.stx_ctime.tv_sec;
  if (inode.mount()->dated_by_own_clock()) return age > kOwnGrain;
  // Zero is no time but what a program says that knows none.
  return age > kForeignGrain && status.stx_ctime.tv_sec > 0;
}

int64_t JudgeOpen(SharedDirectory& directory, const Inode& inode, int fd, uint32_t pid,
                  bool reads_only) {
  struct statx status;
  if (const int result = Status(fd, "", STATX_BASIC_STATS, &status); result < 0) return result;
  const bool again = pid != 0 && directory.reopens().Take(inode.nodeid(), pid);
  if (IsUnsized(fd, status, reads_only)) return static_cast<int64_t>(Freshness::kUnsized);
  switch (inode.told().Compare(status, CertainlySeen(inode, status))) {
    case ToldVersion::Verdict::kSame:
      return static_cast<int64_t>(Freshness::kUnchanged);
    case ToldVersion::Verdict::kOtherSize:
      if (pid != 0 && !again && directory.reopens().Add(inode.nodeid(), pid)) return -ESTALE;
      break;
    case ToldVersion::Verdict::kOther:
      break;
  }
  return static_cast<int64_t>(Freshness::kChanged);
}

bool JudgeListing(SharedDirectory& directory, const Inode& inode, int fd) {
  KeptListings& listings = directory.kept_listings();
  const bool again = listings.NoteOpen(inode.nodeid());
  return JudgeOpen(directory, inode, fd, 0, true) == static_cast<int64_t>(Freshness::kUnchanged) &&
         inode.told().KeepListing(listings, again);
}

}  // namespace viewfsd
