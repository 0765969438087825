// SPDX-License-Identifier: Apache-2.0
// What the guest has been told of a file, and what an open may conclude from it: that the guest can
// keep what it has cached, or that it has to ask again first.
//
// A FUSE client takes sizes and times from the replies to LOOKUP, GETATTR and their like and keeps
// them for a while, and an open brings no new ones. A file that the host has rewritten meanwhile
// would be read anew and be cut off at its old size. The one reply to OPEN that makes Linux ask for
// attributes is ESTALE: it looks the path up again, every component, and opens what it has found
// (fs/namei.c, do_filp_open). So an open that finds a file other than it was told gets that, once.
#ifndef VIEWFSD_FRESHNESS_H_
#define VIEWFSD_FRESHNESS_H_

#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace viewfsd {

// What the guest was told last of one inode, as hashes in one word. Any thread may call anything.
class ToldVersion {
 public:
  // The guest gets these attributes. Needs STATX_BASIC_STATS.
  void Tell(const struct statx& status);
  // The guest has changed the file itself: its attributes are invalid to it until it has asked.
  void GuestAsks() { word_.fetch_or(kGuestAsks, std::memory_order_relaxed); }
  // A name of this directory has been looked up: counts where the guest has kept its listing.
  void CountLookup();
  // For a directory that Compare has found to be kSame: whether the guest shall keep its listing.
  // `again`: see KeptListings::NoteOpen.
  bool KeepListing(class KeptListings& listings, bool again);

  enum class Verdict { kSame, kOther, kOtherSize };
  // Compares the file as it is now. `certain`: a later change would show in its times. kSame only
  // where everything that the guest may have cached was read when that was so already; the first
  // open that could say so has to drop what was read before. kOtherSize: size or modification time
  // are not what the guest believes.
  Verdict Compare(const struct statx& status, bool certain);

 private:
  // From the lowest bit on: size and modification time, change time, flags, lookups.
  static constexpr uint64_t kShape = (uint64_t{1} << 28) - 1;
  static constexpr uint64_t kVersion = (uint64_t{1} << 56) - 1;
  static constexpr uint64_t kGuestAsks = uint64_t{1} << 56;
  static constexpr uint64_t kSettled = uint64_t{1} << 57;
  static constexpr uint64_t kListingKept = uint64_t{1} << 58;
  static constexpr uint64_t kOneLookup = uint64_t{1} << 59;
  // So many lookups in a directory whose names the guest has cached say that it is listed for its
  // attributes. READDIRPLUS brings them together with the names, a cached listing one by one; a
  // listing of a small directory takes two requests.
  static constexpr uint64_t kManyLookups = 3;

  static uint64_t VersionOf(const struct statx& status);

  // 0: nothing has been told.
  std::atomic<uint64_t> word_{0};
};

// Whether listings are worth keeping in the guest's cache at all: what each directory learns
// (ToldVersion) comes too late for a walk over thousands, each of which would cost its lookups
// once. So a session keeps those of directories that are listed again and again, of others a few on
// trial, and more as those prove good. Any thread may call anything.
class KeptListings {
 public:
  // A directory has been opened. Whether it was one of the last before.
  bool NoteOpen(uint64_t nodeid);
  // Whether one of another directory may be kept.
  bool Try();
  // One that was kept has been opened again without many lookups in between.
  void Reward();
  void Clear();

 private:
  // What a change of habits can cost.
  static constexpr int32_t kMost = 16;
  // Without credit one in so many is kept, to notice when habits change.
  static constexpr int32_t kSeldom = 64;

  // One that is kept takes 1, one that was worth it brings 2. Below 0: those not kept since.
  std::atomic<int32_t> credit_ = 0;
  // The directories that were opened last, in turn.
  std::array<std::atomic<uint64_t>, 4> last_ = {};
  std::atomic<uint32_t> next_ = 0;
};

// The opens that were answered with ESTALE and will come again, by inode and by process.
class Reopens {
 public:
  // Remembers an open that shall be answered so. False where too many are remembered.
  bool Add(uint64_t nodeid, uint32_t pid);
  // Whether this open is the second try of one that was; true once.
  bool Take(uint64_t nodeid, uint32_t pid);
  void Clear();

 private:
  struct Open {
    uint64_t nodeid;
    uint32_t pid;
    // Seconds.
    int64_t since;
  };
  static constexpr size_t kMaxOpens = 256;
  // A second try comes at once. One that has not come by then will not: the name means another file
  // now, or the process is gone.
  static constexpr int64_t kPatience = 10;

  std::atomic<size_t> count_{0};
  std::mutex mutex_;
  std::vector<Open> opens_;
};

class Inode;
class SharedDirectory;

// Whether a change after this one would show in the times: they come from this machine's clock and
// are older than its grain, or are so old that no clock could give them again.
bool CertainlySeen(const Inode& inode, const struct statx& status);

// Judges a file or directory that has just been opened as `fd`. `pid`: who opens, 0 where it can't
// be asked to try again. `reads_only`: the descriptor can't write. Returns a Freshness, or -errno;
// -ESTALE also where the guest's attributes are out of date and it shall ask for them first.
int64_t JudgeOpen(SharedDirectory& directory, const Inode& inode, int fd, uint32_t pid,
                  bool reads_only);

// Whether the guest shall keep its listing of a directory that has just been opened as `fd`.
bool JudgeListing(SharedDirectory& directory, const Inode& inode, int fd);

// Whether files of the file system that holds `fd` have sizes that say nothing.
bool IsPseudoFileSystem(int fd);

}  // namespace viewfsd

#endif  // VIEWFSD_FRESHNESS_H_
