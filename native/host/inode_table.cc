// SPDX-License-Identifier: Apache-2.0
#include "host/inode_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <new>
#include <vector>

#include "session/finished_work.h"
#include "session/guest_session.h"

namespace viewfsd {

namespace {

// Of an inode that holds none. A descriptor or -errno.
int OpenPath(const Inode& inode) {
  const Mount& mount = *inode.mount();
  return inode.has_handle() ? mount.Open(inode.handle(), O_PATH) : mount.OpenRoot(O_PATH);
}

// A birth time tells two lives of an inode number apart once it is this old: far longer than the
// grain of file systems' clocks.
constexpr int64_t kBirthGrain = 1'000'000'000;

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

bool TellsApart(const Mount& mount, int64_t birth) {
  return mount.dated_by_own_clock() && birth != INT64_MIN && birth < Now() - kBirthGrain;
}

// Inodes that are known no more and that requests under way still refer to.
constexpr size_t kInUse = 65536;
// More than one READDIRPLUS brings.
constexpr size_t kGiven = 16384;

}  // namespace

size_t InodeTable::MostInodes(const Limits& limits) {
  return 1 + limits.inodes + limits.remembered + kInUse;
}

size_t InodeTable::BytesFor(const Limits& limits) {
  const size_t inodes = MostInodes(limits);
  return MountSlots::BytesFor() + TableMemory::BytesOf<State>(1) +
         RecordPool<InodeRecord>::BytesFor(inodes) + HandleStore::BytesFor(inodes) +
         GivenLog::BytesFor(kGiven) + RecordIndex<InodeRecord, ByNodeid>::BytesFor(inodes) +
         RecordIndex<InodeRecord, ByKey>::BytesFor(inodes) +
         DescriptorCache::BytesFor(limits.cached);
}

InodeTable::InodeTable(TableMemory& memory, const Limits& limits, DescriptorBudget& budget)
    : limits_(limits),
      budget_(budget),
      mounts_(memory),
      state_(memory.Reserve<State>(1)),
      records_(memory, MostInodes(limits)),
      handles_(memory, MostInodes(limits)),
      given_(memory, kGiven),
      by_nodeid_(memory, records_, MostInodes(limits)),
      by_key_(memory, records_, MostInodes(limits), ByKey{&mounts_}),
      cache_(memory, limits.cached) {}

InodeTable::~InodeTable() {
  if (state_ == nullptr) return;
  Clear();
  if (InodeRecord* root = FindListed(kRootNodeid); root != nullptr) close(root->held);
}

InodeRecord* InodeTable::At(uint32_t index) {
  return index == RecordPool<InodeRecord>::kNone ? nullptr : &records_[index];
}

int InodeTable::Fill(InodeRecord& record, const InodeFacts& facts,
                     const std::shared_ptr<const Mount>& mount, const FileHandle& handle) {
  record.number = facts.key.number;
  record.device = facts.key.device;
  record.home = facts.home;
  record.birth = facts.birth;
  record.type = static_cast<uint16_t>(facts.type);
  record.submount = facts.submount;
  record.mount = mounts_.Enter(mount);
  if (record.mount == MountSlots::kNone) return -ENFILE;
  const int result = handles_.Put(record, handle);
  if (result < 0) mounts_.Leave(record.mount);
  return result;
}

// The mount is the caller's, too, so that it does not end here. So is `held` where this fails.
int InodeTable::Add(const InodeFacts& facts, const std::shared_ptr<const Mount>& mount,
                    const FileHandle& handle, int held, uint64_t nodeid, InodeRecord** added) {
  const uint32_t index = records_.Take();
  if (index == RecordPool<InodeRecord>::kNone) return -ENFILE;
  InodeRecord& record = *new (&records_[index]) InodeRecord();
  if (const int result = Fill(record, facts, mount, handle); result < 0) {
    records_.Give(index);
    return result;
  }
  record.nodeid = nodeid;
  record.held = held;
  record.mount_root = handle.empty() && (nodeid == kRootNodeid || record.held < 0);
  by_nodeid_.Insert(index);
  by_key_.Insert(index);
  // A new nodeid: without the record there is no count.
  given_.Note(nodeid, 0, index, GivenRecord::kRaised);
  record.listed.store(true, std::memory_order_release);
  *added = &record;
  return 0;
}

int InodeTable::SetRoot(const InodeFacts& facts, std::shared_ptr<const Mount> mount, UniqueFd fd) {
  const std::lock_guard lock(mutex_);
  InodeRecord* root;
  const int result = Add(facts, mount, FileHandle(), fd.get(), kRootNodeid, &root);
  if (result == 0) fd.release();
  return result;
}

// Not one that the guest has forgotten.
InodeRecord* InodeTable::FindKnown(uint64_t nodeid) {
  InodeRecord* inode = FindListed(nodeid);
  return inode != nullptr && inode->lookups > 0 ? inode : nullptr;
}

InodeRef InodeTable::Get(uint64_t nodeid) {
  const std::lock_guard lock(mutex_);
  return InodeRef(Inode(this, FindKnown(nodeid)));
}

InodeRef InodeTable::Recall(uint64_t nodeid) {
  const std::lock_guard lock(mutex_);
  return InodeRef(Inode(this, FindListed(nodeid)));
}

void InodeTable::set_remember(bool remember) {
  const std::lock_guard lock(mutex_);
  remember_ = remember;
}

void InodeTable::Raise(InodeRecord& inode) {
  const uint64_t before = inode.lookups;
  GivenRecord* const given =
      given_.Note(inode.nodeid, before, records_.IndexOf(inode), GivenRecord::kRaising);
  inode.lookups = before + 1;
  GivenLog::Set(given, GivenRecord::kRaised);
  if (before == 0) Unlist(inode);
}

bool InodeTable::Count(const InodeRef& inode) {
  InodeRecord& record = *inode->record_;
  const std::lock_guard lock(mutex_);
  if (!record.listed || !InPresentSession()) return false;
  Raise(record);
  return true;
}

void InodeTable::Remember(InodeRecord& inode) {
  const uint32_t index = records_.IndexOf(inode);
  inode.older = state_->newest;
  (inode.older == 0 ? state_->oldest : records_[inode.older].newer) = index;
  state_->newest = index;
  ++state_->remembered;
}

void InodeTable::Unlist(InodeRecord& inode) {
  (inode.older == 0 ? state_->oldest : records_[inode.older].newer) = inode.newer;
  (inode.newer == 0 ? state_->newest : records_[inode.newer].older) = inode.older;
  inode.older = inode.newer = 0;
  --state_->remembered;
}

// With the descriptor that it holds or has in the cache.
InodeUse InodeTable::UseCached(InodeRef inode) {
  const InodeRecord& record = *inode->record_;
  if (record.held >= 0) return InodeUse(std::move(inode), record.held);
  InodeUse use(std::move(inode), cache_.Use(record.cached));
  use.cached_ = record.cached;
  return use;
}

InodeUse InodeTable::Use(uint64_t nodeid) {
  InodeRef inode;
  {
    const std::lock_guard lock(mutex_);
    InodeRecord* record = FindKnown(nodeid);
    if (record == nullptr) return InodeUse(-ESTALE);
    inode = InodeRef(View(*record));
    if (record->held >= 0 || record->cached != DescriptorCache::kNone)
      return UseCached(std::move(inode));
  }
  return OpenAndUse(inode);
}

InodeUse InodeTable::Use(const InodeRef& inode) {
  {
    const InodeRecord& record = *inode->record_;
    const std::lock_guard lock(mutex_);
    if (record.held >= 0 || record.cached != DescriptorCache::kNone) return UseCached(inode);
  }
  return OpenAndUse(inode);
}

InodeUse InodeTable::UseOnce(const InodeRef& inode) {
  {
    const InodeRecord& record = *inode->record_;
    const std::lock_guard lock(mutex_);
    if (record.held >= 0 || record.cached != DescriptorCache::kNone) return UseCached(inode);
  }
  UniqueFd fd(OpenPath(*inode));
  return fd ? InodeUse(inode, std::move(fd)) : InodeUse(fd.get());
}

InodeUse InodeTable::OpenAndUse(const InodeRef& inode) {
  AnnounceWork();
  const Mount& mount = *inode->mount();
  UniqueFd fd(OpenPath(*inode));
  if (!fd) return InodeUse(fd.get());
  // In another mount than the share's it would keep the host from unmounting that.
  if (!mount.held()) return InodeUse(inode, std::move(fd));
  InodeRecord& record = *inode->record_;
  // Closes after the lock is gone.
  UniqueFd evicted;
  const std::lock_guard lock(mutex_);
  // Forgotten meanwhile, or another thread was faster: this one's descriptor ends with its use.
  if (!record.listed || record.lookups == 0 || record.held >= 0 ||
      record.cached != DescriptorCache::kNone)
    return InodeUse(inode, std::move(fd));
  // Files are mostly used once; what is used again soon stays.
  DescriptorCache::Added added =
      cache_.Add(records_.IndexOf(record), fd.get(), S_ISDIR(record.type));
  if (added.place == DescriptorCache::kNone) return InodeUse(inode, std::move(fd));
  evicted = std::move(added.closed);
  if (added.evicted != 0) records_[added.evicted].cached = DescriptorCache::kNone;
  record.cached = added.place;
  InodeUse use(inode, fd.release());
  use.cached_ = added.place;
  return use;
}

void InodeTable::EndUse(uint32_t cached) {
  if (!cache_.EndUse(cached)) return;
  UniqueFd closed;
  const std::lock_guard lock(mutex_);
  closed = cache_.Free(cached);
}

UniqueFd InodeTable::Uncache(InodeRecord& inode) {
  if (inode.cached == DescriptorCache::kNone) return UniqueFd();
  return cache_.Remove(std::exchange(inode.cached, DescriptorCache::kNone));
}

InodeRef InodeTable::FindAndCount(const InodeFacts& facts) {
  const std::lock_guard lock(mutex_);
  InodeRecord* inode = FindByKey(facts.key);
  if (inode == nullptr || inode->type != facts.type || !InPresentSession()) return {};
  // An open descriptor keeps the number from being used again, and a mount its root.
  const bool certain = inode->held >= 0 || inode->cached != DescriptorCache::kNone ||
                       inode->handle_size == 0 ||
                       (inode->known_by_birth && inode->birth == facts.birth);
  if (!certain) return {};
  Raise(*inode);
  return InodeRef(View(*inode));
}

bool InodeTable::Knows(const InodeKey& key) {
  const std::lock_guard lock(mutex_);
  return FindByKey(key) != nullptr;
}

InodeRef InodeTable::Find(const InodeKey& key) {
  const std::lock_guard lock(mutex_);
  InodeRecord* inode = FindByKey(key);
  return InodeRef(Inode(this, inode != nullptr && inode->lookups > 0 ? inode : nullptr));
}

int InodeTable::InsertAndCount(const InodeFacts& facts, std::shared_ptr<const Mount> mount,
                               const FileHandle& handle, UniqueFd fd, InodeRef* inode) {
  const bool by_birth = TellsApart(*mount, facts.birth);
  // Close after the lock is gone.
  UniqueFd own = std::move(fd);
  Remains remains;
  const std::lock_guard lock(mutex_);
  if (!InPresentSession()) return -ENOTCONN;
  InodeRecord* known = FindByKey(facts.key);
  if (known != nullptr) {
    // Under an open descriptor, or as the root of a mount, a number has one life.
    if (known->type == facts.type && (known->held >= 0 || handles_.Get(*known) == handle)) {
      Raise(*known);
      known->known_by_birth = by_birth && known->birth == facts.birth;
      *inode = InodeRef(View(*known));
      return 0;
    }
    // The number belongs to another inode now. The old one keeps its nodeid, and is stale.
    if (known->lookups == 0) {
      Remove(*known, &remains);
    } else {
      by_key_.Erase(records_.IndexOf(*known));
      known->replaced = true;
    }
  }
  if (CountKnown() >= limits_.inodes) return -ENFILE;
  const int held = handle.empty() ? own.get() : -1;
  if (held >= 0 && !budget_.Take()) return -ENFILE;
  InodeRecord* added;
  const uint64_t nodeid = kRootNodeid + 1 + state_->nodeids;
  if (const int result = Add(facts, mount, handle, held, nodeid, &added); result < 0) {
    if (held >= 0) budget_.Give(1);
    return result;
  }
  if (held >= 0) own.release();
  ++state_->nodeids;
  added->known_by_birth = by_birth;
  *inode = InodeRef(View(*added));
  return 0;
}

void InodeTable::Hold(InodeUse& use) {
  InodeRecord& record = *use->record_;
  UniqueFd uncached;
  const std::lock_guard lock(mutex_);
  if (!record.listed || record.lookups == 0 || record.held >= 0 || !budget_.Take()) return;
  // One that has been opened for this use can stay as it is.
  record.held = use.own_ ? use.own_.release() : fcntl(use.fd(), F_DUPFD_CLOEXEC, 0);
  if (record.held < 0) {
    budget_.Give(1);
    return;
  }
  uncached = Uncache(record);
}

void InodeTable::DropDescriptor(const InodeRef& inode) {
  UniqueFd uncached;
  const std::lock_guard lock(mutex_);
  uncached = Uncache(*inode->record_);
}

// Takes an inode out of everything; it ends here unless somebody refers to it.
void InodeTable::Remove(InodeRecord& inode, Remains* remains) {
  const uint32_t index = records_.IndexOf(inode);
  inode.listed.store(false, std::memory_order_release);
  if (inode.lookups == 0 && (inode.older != 0 || state_->oldest == index)) Unlist(inode);
  by_nodeid_.Erase(index);
  if (!inode.replaced) by_key_.Erase(index);
  if (inode.held >= 0) budget_.Give(1);
  if (inode.cached != DescriptorCache::kNone) remains->cached = Uncache(inode);
  if (inode.references.fetch_sub(1, std::memory_order_acq_rel) == 1) Free(inode, remains);
}

void InodeTable::Free(InodeRecord& inode, Remains* remains) {
  remains->held.reset(std::exchange(inode.held, -1));
  remains->mount = mounts_.Leave(inode.mount);
  handles_.Drop(inode);
  records_.Give(records_.IndexOf(inode));
}

void InodeTable::Drop(InodeRecord& record) {
  Remains remains;
  const std::lock_guard lock(mutex_);
  Free(record, &remains);
}

bool InodeTable::Forget(uint64_t nodeid, uint64_t count) {
  bool slow = false;
  Remains remains;
  {
    const std::lock_guard lock(mutex_);
    InodeRecord* inode = nodeid == kRootNodeid ? nullptr : FindKnown(nodeid);
    const uint64_t before = inode == nullptr ? 0 : inode->lookups;
    const uint32_t index = inode == nullptr ? 0 : records_.IndexOf(*inode);
    GivenRecord* const given = given_.Note(nodeid, before, index, GivenRecord::kForgetting);
    if (inode != nullptr) inode->lookups = count < before ? before - count : 0;
    GivenLog::Set(given, GivenRecord::kForgotten);
    if (inode == nullptr || inode->lookups > 0) return false;
    const bool from_memory = mounts_.At(inode->mount)->answers_from_memory();
    slow = inode->held >= 0 || (inode->cached != DescriptorCache::kNone && !from_memory);
    EndKnown(*inode, &remains);
  }
  if (slow) AnnounceWork();
  return true;
}

size_t InodeTable::CountForgotten() {
  const std::lock_guard lock(mutex_);
  return given_.CountForgotten();
}

void InodeTable::TakeBack(uint64_t nodeid) {
  Remains remains;
  const std::lock_guard lock(mutex_);
  InodeRecord* inode = FindKnown(nodeid);
  if (inode == nullptr || nodeid == kRootNodeid) return;
  GivenRecord* const given = given_.Find(nodeid);
  if (given != nullptr) given->before = inode->lookups;
  GivenLog::Set(given, GivenRecord::kLowering);
  inode->lookups--;
  GivenLog::Set(given, GivenRecord::kNone);
  if (inode->lookups == 0) EndKnown(*inode, &remains);
}

// The guest does not know it any more.
void InodeTable::EndKnown(InodeRecord& inode, Remains* remains) {
  InodeRecord* removed = &inode;
  if (remember_ && inode.held < 0 && !inode.replaced) {
    remains->cached = Uncache(inode);
    Remember(inode);
    removed = state_->remembered > limits_.remembered ? At(state_->oldest) : nullptr;
  }
  if (removed != nullptr) Remove(*removed, remains);
}

std::vector<uint64_t> InodeTable::KnownFrom(size_t* place, uint64_t mount) {
  std::vector<uint64_t> nodeids;
  const std::lock_guard lock(mutex_);
  *place = records_.ForBlock(*place, [&](uint32_t index) {
    const InodeRecord& record = records_[index];
    if (record.listed && record.lookups > 0 && mounts_.At(record.mount)->id() == mount)
      nodeids.push_back(record.nodeid);
  });
  return nodeids;
}

std::vector<InodeTable::Known> InodeTable::KnownFrom(size_t* place) {
  std::vector<Known> known;
  const std::lock_guard lock(mutex_);
  *place = records_.ForBlock(*place, [&](uint32_t index) {
    const InodeRecord& record = records_[index];
    if (record.listed && record.lookups > 0) known.push_back({record.nodeid, record.lookups});
  });
  return known;
}

uint64_t InodeTable::next_nodeid() {
  const std::lock_guard lock(mutex_);
  return kRootNodeid + 1 + state_->nodeids;
}

void InodeTable::Reserve(uint64_t next) {
  const std::lock_guard lock(mutex_);
  reserved_ = std::max(reserved_, next);
  state_->nodeids = std::max(state_->nodeids, reserved_ - kRootNodeid - 1);
}

int InodeTable::Renumber(uint64_t nodeid, uint64_t reserved, uint64_t lookups) {
  const std::lock_guard lock(mutex_);
  InodeRecord* inode = FindKnown(nodeid);
  if (inode == nullptr || nodeid < reserved_ || reserved >= reserved_ ||
      FindListed(reserved) != nullptr)
    return -EEXIST;
  const uint32_t index = records_.IndexOf(*inode);
  by_nodeid_.Erase(index);
  inode->nodeid = reserved;
  inode->lookups = lookups;
  by_nodeid_.Insert(index);
  return 0;
}

void InodeTable::Move(const Mount& mount, MountPoint point) {
  // Ends after the lock is gone.
  std::shared_ptr<const Mount> left;
  const std::lock_guard lock(mutex_);
  left = mounts_.Move(mount, std::move(point));
}

void InodeTable::ClearSubmount(const InodeRef& inode) {
  const std::lock_guard lock(mutex_);
  inode->record_->submount = false;
}

void InodeTable::Clear() {
  std::vector<Remains> all;
  const std::lock_guard lock(mutex_);
  records_.ForEach([&](uint32_t index) {
    InodeRecord& inode = records_[index];
    if (!inode.listed || inode.nodeid == kRootNodeid) return;
    Remains remains;
    Remove(inode, &remains);
    if (remains.held || remains.cached || remains.mount != nullptr)
      all.push_back(std::move(remains));
  });
}

size_t InodeTable::size() {
  const std::lock_guard lock(mutex_);
  return CountKnown();
}

}  // namespace viewfsd
