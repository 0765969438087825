// SPDX-License-Identifier: Apache-2.0
#include "host/inode_table.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "session/finished_work.h"
#include "session/guest_session.h"

namespace viewfsd {

namespace {

// A birth time tells two lives of an inode number apart once it is this old: far longer than the
// grain of file systems' clocks.
constexpr int64_t kBirthGrain = 1'000'000'000;

// So many that their memory is worth giving back.
constexpr size_t kManyInodes = 65536;

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

bool TellsApart(const Mount& mount, int64_t birth) {
  return mount.dated_by_own_clock() && birth != INT64_MIN && birth < Now() - kBirthGrain;
}

}  // namespace

InodeTable::InodeTable(const Limits& limits, DescriptorBudget& budget)
    : limits_(limits), budget_(budget) {}

InodeTable::~InodeTable() {
  by_nodeid_.ForEach([](Inode* inode) {
    if (inode->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete inode;
  });
}

// The table's reference.
void InodeTable::Adopt(Inode* inode) {
  inode->references_.fetch_add(1, std::memory_order_relaxed);
  by_nodeid_.Insert(inode);
  peak_ = std::max(peak_, by_nodeid_.size());
}

void InodeTable::SetRoot(const InodeFacts& facts, std::shared_ptr<const Mount> mount, UniqueFd fd) {
  const std::lock_guard lock(mutex_);
  auto* root = new Inode(kRootNodeid, facts, std::move(mount), FileHandle(), std::move(fd));
  Adopt(root);
  by_key_.Insert(root);
}

// Not one that the guest has forgotten.
Inode* InodeTable::FindKnown(uint64_t nodeid) {
  Inode* inode = by_nodeid_.Find(nodeid);
  return inode != nullptr && inode->lookups_ > 0 ? inode : nullptr;
}

InodeRef InodeTable::Get(uint64_t nodeid) {
  const std::lock_guard lock(mutex_);
  return InodeRef(FindKnown(nodeid));
}

InodeRef InodeTable::Recall(uint64_t nodeid) {
  const std::lock_guard lock(mutex_);
  return InodeRef(by_nodeid_.Find(nodeid));
}

void InodeTable::set_remember(bool remember) {
  const std::lock_guard lock(mutex_);
  remember_ = remember;
}

void InodeTable::Raise(Inode& inode) {
  if (inode.lookups_++ == 0) Unlist(inode);
}

bool InodeTable::Count(const InodeRef& inode) {
  const std::lock_guard lock(mutex_);
  if (by_nodeid_.Find(inode->nodeid()) == nullptr || !InPresentSession()) return false;
  Raise(*inode);
  return true;
}

void InodeTable::Remember(Inode& inode) {
  inode.older_ = newest_;
  (newest_ == nullptr ? oldest_ : newest_->newer_) = &inode;
  newest_ = &inode;
  ++remembered_;
}

void InodeTable::Unlist(Inode& inode) {
  (inode.older_ == nullptr ? oldest_ : inode.older_->newer_) = inode.newer_;
  (inode.newer_ == nullptr ? newest_ : inode.newer_->older_) = inode.older_;
  inode.older_ = inode.newer_ = nullptr;
  --remembered_;
}

InodeUse InodeTable::Use(uint64_t nodeid) {
  InodeRef inode;
  {
    const std::lock_guard lock(mutex_);
    inode = InodeRef(FindKnown(nodeid));
    if (inode == nullptr) return InodeUse(-ESTALE);
    if (const int held = inode->held_; held >= 0) return InodeUse(std::move(inode), held);
    if (inode->cache_place_ != Inode::kNotCached) {
      Cached& place = cache_[inode->cache_place_];
      place.used = true;
      return InodeUse(std::move(inode), place.fd);
    }
  }
  return Use(inode);
}

InodeUse InodeTable::Use(const InodeRef& inode) {
  {
    const std::lock_guard lock(mutex_);
    if (inode->held_ >= 0) return InodeUse(inode, inode->held_);
    if (inode->cache_place_ != Inode::kNotCached)
      return InodeUse(inode, cache_[inode->cache_place_].fd);
  }
  AnnounceWork();
  const Mount& mount = *inode->mount();
  const int fd =
      inode->handle().empty() ? mount.OpenRoot(O_PATH) : mount.Open(inode->handle(), O_PATH);
  if (fd < 0) return InodeUse(fd);
  auto shared = std::make_shared<const UniqueFd>(fd);
  // In another mount than the share's it would keep the host from unmounting that.
  if (!mount.held()) return InodeUse(inode, std::move(shared));
  // Closes after the lock is gone.
  std::shared_ptr<const UniqueFd> evicted;
  const std::lock_guard lock(mutex_);
  // Forgotten meanwhile, or another thread was faster: this one's descriptor ends with its use.
  if (FindKnown(inode->nodeid()) != nullptr && inode->held_ < 0 &&
      inode->cache_place_ == Inode::kNotCached)
    evicted = Cache(*inode, shared);
  return InodeUse(inode, std::move(shared));
}

// Returns the descriptor that has to go for this one.
std::shared_ptr<const UniqueFd> InodeTable::Cache(Inode& inode,
                                                  std::shared_ptr<const UniqueFd> fd) {
  if (limits_.cached == 0) return nullptr;
  if (free_places_.empty() && cache_.size() < limits_.cached) {
    // Not at once: a large cache that is not needed takes no memory.
    free_places_.push_back(static_cast<uint32_t>(cache_.size()));
    cache_.emplace_back();
  }
  // Files are mostly used once; what is used again soon stays.
  Cached added = {&inode, std::move(fd), S_ISDIR(inode.type())};
  if (!free_places_.empty()) {
    inode.cache_place_ = free_places_.back();
    free_places_.pop_back();
    cache_[inode.cache_place_] = std::move(added);
    return nullptr;
  }
  while (cache_[hand_].used) {
    cache_[hand_].used = false;
    hand_ = (hand_ + 1) % cache_.size();
  }
  Cached& place = cache_[hand_];
  std::shared_ptr<const UniqueFd> evicted = std::move(place.fd);
  place.inode->cache_place_ = Inode::kNotCached;
  place = std::move(added);
  inode.cache_place_ = static_cast<uint32_t>(hand_);
  hand_ = (hand_ + 1) % cache_.size();
  return evicted;
}

std::shared_ptr<const UniqueFd> InodeTable::Uncache(Inode& inode) {
  if (inode.cache_place_ == Inode::kNotCached) return nullptr;
  Cached& place = cache_[inode.cache_place_];
  free_places_.push_back(inode.cache_place_);
  inode.cache_place_ = Inode::kNotCached;
  place.inode = nullptr;
  place.used = false;
  return std::move(place.fd);
}

InodeRef InodeTable::FindAndCount(const InodeFacts& facts) {
  const std::lock_guard lock(mutex_);
  Inode* inode = by_key_.Find(facts.key);
  if (inode == nullptr || inode->type_ != facts.type || !InPresentSession()) return {};
  // An open descriptor keeps the number from being used again, and a mount its root.
  const bool certain = inode->held_ >= 0 || inode->cache_place_ != Inode::kNotCached ||
                       inode->handle_.empty() ||
                       (inode->known_by_birth_ && inode->birth_ == facts.birth);
  if (!certain) return {};
  Raise(*inode);
  return InodeRef(inode);
}

bool InodeTable::Knows(const InodeKey& key) {
  const std::lock_guard lock(mutex_);
  return by_key_.Find(key) != nullptr;
}

InodeRef InodeTable::Find(const InodeKey& key) {
  const std::lock_guard lock(mutex_);
  Inode* inode = by_key_.Find(key);
  return InodeRef(inode != nullptr && inode->lookups_ > 0 ? inode : nullptr);
}

int InodeTable::InsertAndCount(const InodeFacts& facts, std::shared_ptr<const Mount> mount,
                               FileHandle handle, UniqueFd fd, InodeRef* inode) {
  const bool by_birth = TellsApart(*mount, facts.birth);
  // Close after the lock is gone.
  UniqueFd surplus;
  InodeRef dropped;
  const std::lock_guard lock(mutex_);
  if (!InPresentSession()) {
    surplus = std::move(fd);
    return -ENOTCONN;
  }
  Inode* known = by_key_.Find(facts.key);
  if (known != nullptr) {
    // Under an open descriptor, or as the root of a mount, a number has one life.
    if (known->type_ == facts.type && (known->held_ >= 0 || known->handle_ == handle)) {
      surplus = std::move(fd);
      Raise(*known);
      known->known_by_birth_ = by_birth && known->birth_ == facts.birth;
      *inode = InodeRef(known);
      return 0;
    }
    // The number belongs to another inode now. The old one keeps its nodeid, and is stale.
    if (known->lookups_ == 0) {
      dropped = InodeRef(known);
      Remove(known);
    } else {
      by_key_.Erase(known);
      known->replaced_ = true;
    }
  }
  if (CountKnown() >= limits_.inodes) return -ENFILE;
  if (handle.empty() && fd && !budget_.Take()) {
    surplus = std::move(fd);
    return -ENFILE;
  }
  if (!handle.empty()) surplus = std::move(fd);
  auto* added =
      new Inode(next_nodeid_++, facts, std::move(mount), std::move(handle), std::move(fd));
  added->known_by_birth_ = by_birth;
  Adopt(added);
  by_key_.Insert(added);
  *inode = InodeRef(added);
  return 0;
}

void InodeTable::Hold(const InodeUse& use) {
  Inode* inode = use.ref().get();
  std::shared_ptr<const UniqueFd> uncached;
  const std::lock_guard lock(mutex_);
  if (FindKnown(inode->nodeid()) == nullptr || inode->held_ >= 0 || !budget_.Take()) return;
  inode->held_ = fcntl(use.fd(), F_DUPFD_CLOEXEC, 0);
  if (inode->held_ < 0) {
    budget_.Give(1);
    return;
  }
  uncached = Uncache(*inode);
}

void InodeTable::DropDescriptor(const InodeRef& inode) {
  std::shared_ptr<const UniqueFd> uncached;
  const std::lock_guard lock(mutex_);
  uncached = Uncache(*inode);
}

// Takes an inode out of everything but the caller's reference. Returns the cache's descriptor.
std::shared_ptr<const UniqueFd> InodeTable::Remove(Inode* inode) {
  if (inode->older_ != nullptr || inode == oldest_) Unlist(*inode);
  by_nodeid_.Erase(inode);
  if (!inode->replaced_) by_key_.Erase(inode);
  if (inode->held_ >= 0) budget_.Give(1);
  inode->references_.fetch_sub(1, std::memory_order_relaxed);
  return Uncache(*inode);
}

bool InodeTable::Forget(uint64_t nodeid, uint64_t count) {
  if (nodeid == kRootNodeid) return false;
  bool much_freed = false;
  bool slow = false;
  // Dropped after the lock is gone: the last reference closes a descriptor, and that may do I/O.
  InodeRef forgotten;
  std::shared_ptr<const UniqueFd> closed;
  {
    const std::lock_guard lock(mutex_);
    Inode* inode = FindKnown(nodeid);
    if (inode == nullptr) return false;
    inode->lookups_ = count < inode->lookups_ ? inode->lookups_ - count : 0;
    if (inode->lookups_ > 0) return false;
    if (remember_ && inode->held_ < 0 && !inode->replaced_) {
      closed = Uncache(*inode);
      Remember(*inode);
      inode = remembered_ > limits_.remembered ? oldest_ : nullptr;
    }
    if (inode != nullptr) {
      forgotten = InodeRef(inode);
      slow = inode->held_ >= 0 || (closed != nullptr && !inode->mount()->answers_from_memory());
      if (std::shared_ptr<const UniqueFd> fd = Remove(inode); fd != nullptr) closed = std::move(fd);
    }
    much_freed = peak_ > kManyInodes && by_nodeid_.size() < peak_ / 8;
    if (much_freed) peak_ = by_nodeid_.size();
  }
  if (slow) AnnounceWork();
  // The allocator keeps small pieces for itself unless asked.
  if (much_freed) malloc_trim(0);
  return true;
}

void InodeTable::Clear() {
  std::vector<InodeRef> forgotten;
  std::vector<Cached> closed;
  const std::lock_guard lock(mutex_);
  Inode* root = by_nodeid_.Find(kRootNodeid);
  forgotten.reserve(by_nodeid_.size());
  size_t held = 0;
  by_nodeid_.ForEach([&](Inode* inode) {
    inode->cache_place_ = Inode::kNotCached;
    if (inode == root) return;
    if (inode->held_ >= 0) ++held;
    forgotten.emplace_back(inode);
    inode->references_.fetch_sub(1, std::memory_order_relaxed);
  });
  budget_.Give(held);
  cache_.swap(closed);
  free_places_.clear();
  hand_ = 0;
  by_nodeid_.Clear();
  by_key_.Clear();
  oldest_ = newest_ = nullptr;
  remembered_ = 0;
  peak_ = 0;
  if (root == nullptr) return;
  by_nodeid_.Insert(root);
  by_key_.Insert(root);
}

size_t InodeTable::size() {
  const std::lock_guard lock(mutex_);
  return CountKnown();
}

}  // namespace viewfsd
