// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>

#include "host/directory.h"
#include "test/take_over/guest.h"

namespace viewfsd::take_over {
namespace {

std::string Number(int fd) {
  struct stat status;
  return fstat(fd, &status) < 0 ? "closed" : std::to_string(status.st_ino);
}

// The inode's number, or what its use comes to.
std::string NumberOf(SharedDirectory& directory, uint64_t nodeid) {
  const InodeUse use = directory.Use(nodeid);
  return use ? Number(use.fd()) : strerror(-use.error());
}

uint64_t TakeLookups(SharedDirectory& directory, uint64_t nodeid) {
  uint64_t lookups = 1;
  while (!directory.inodes().Forget(nodeid, 1)) lookups++;
  return lookups;
}

// How many entries a directory has, as read from its beginning.
size_t CountEntries(SharedDirectory& directory, const HandleTable::Open& open) {
  uint8_t entries[4096];
  const int64_t size =
      ReadDirectory(directory, open.nodeid, open.fh, 0, false, entries, sizeof(entries));
  size_t count = 0;
  for (int64_t at = 0; at < size; count++) {
    fuse_dirent entry;
    memcpy(&entry, entries + at, sizeof(entry));
    at += static_cast<int64_t>(FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen));
  }
  return count;
}

std::string DescribeHandle(SharedDirectory& directory, const HandleTable::Open& open) {
  const HandleRef handle = directory.handles().Get(open.fh, open.nodeid, open.kind);
  if (handle == nullptr) return "lost";
  const std::string number = Number(handle.fd());
  if (open.kind == HandleKind::kFile) return number;
  return number + "/" + std::to_string(CountEntries(directory, open));
}

// Whether the host's programs can lock what UnlockC does not hold any more.
bool OthersMayLock(const Served& served) {
  const UniqueFd file(openat(served.root, "c", O_RDWR | O_CLOEXEC));
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return !file || fcntl(file.get(), F_OFD_SETLK, &whole) == 0;
}

}  // namespace

std::string Observe(const Served& served) {
  SharedDirectory& directory = served.directory;
  // By name, so that it does not matter where the records are.
  std::set<std::string> seen;
  uint64_t last_nodeid = served.guest.last_nodeid;
  uint64_t last_fh = served.guest.last_fh;
  size_t place = 0;
  do {
    for (const HandleTable::Open& open : directory.handles().From(&place)) {
      last_fh = std::max(last_fh, open.fh);
      seen.insert("fh" + std::to_string(open.fh) + "=" + DescribeHandle(directory, open));
    }
  } while (place != 0);
  const uint64_t mount = directory.inodes().Get(1)->mount()->id();
  do {
    for (const uint64_t nodeid : directory.inodes().KnownFrom(&place, mount)) {
      if (nodeid == 1) continue;
      last_nodeid = std::max(last_nodeid, nodeid);
      const std::string number = NumberOf(directory, nodeid);
      seen.insert("id" + std::to_string(nodeid) + "=" + number + "*" +
                  std::to_string(TakeLookups(directory, nodeid)));
    }
  } while (place != 0);
  for (const MappedRange& mapped : directory.mapped_ranges().From(0, 10))
    seen.insert("map" + std::to_string(mapped.range.moffset) + "+" +
                std::to_string(mapped.range.length));
  if (OthersMayLock(served)) seen.insert("unlocked");
  // Nothing is given out twice.
  fuse_entry_out entry;
  const UniqueFd fresh(openat(served.root, "fresh", O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  if (directory.Lookup(1, "fresh", false, &entry) != 0 || entry.nodeid <= last_nodeid)
    seen.insert("nodeid-again");
  const int64_t fh = directory.handles().Add(entry.nodeid, UniqueFd(fcntl(fresh.get(), F_DUPFD, 0)),
                                             HandleKind::kFile);
  if (fh < 0 || static_cast<uint64_t>(fh) <= last_fh) seen.insert("fh-again");
  unlinkat(served.root, "fresh", 0);
  std::string all;
  for (const std::string& each : seen) all += (all.empty() ? "" : "; ") + each;
  return all;
}

}  // namespace viewfsd::take_over
