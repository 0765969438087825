// SPDX-License-Identifier: Apache-2.0
#include "host/restore_directory.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "host/open_files.h"

namespace viewfsd {
namespace {

// Forgets what has been looked up on the way to something.
class OnTheWay {
 public:
  explicit OnTheWay(SharedDirectory& directory) : directory_(directory) {}
  ~OnTheWay() {
    for (const uint64_t nodeid : nodeids_) directory_.Forget(nodeid, 1);
  }
  OnTheWay(const OnTheWay&) = delete;
  OnTheWay& operator=(const OnTheWay&) = delete;
  void Add(uint64_t nodeid) { nodeids_.push_back(nodeid); }

 private:
  SharedDirectory& directory_;
  std::vector<uint64_t> nodeids_;
};

// The components of a path that goes down only. False for any other.
bool Split(const std::string& path, std::vector<std::string>* names) {
  if (path == ".") return true;
  for (size_t start = 0; start <= path.size();) {
    size_t end = path.find('/', start);
    if (end == std::string::npos) end = path.size();
    const std::string name = path.substr(start, end - start);
    if (!IsComponent(name.c_str(), name.size())) return false;
    names->push_back(name);
    start = end + 1;
  }
  return true;
}

// A directory deeper in a file system of its own is not where that begins.
bool BeginsDevice(const InodeUse& inode) {
  const UniqueFd above(openat(inode.fd(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statx status;
  if (!above || Status(above.get(), "", STATX_BASIC_STATS, &status) < 0) return true;
  return DeviceOf(status) != inode->key().device;
}

// Looks the inode up, as a guest would. Its lookup count is raised.
int64_t Find(SharedDirectory& directory, const RestoredInode& wanted, fuse_entry_out* entry) {
  std::vector<std::string> names;
  if (!Split(wanted.path, &names)) return -EINVAL;
  const bool by_handle = !wanted.handle.empty();
  std::string last;
  if (!by_handle) {
    if (names.empty()) return -EINVAL;
    last = std::move(names.back());
    names.pop_back();
  }
  OnTheWay way(directory);
  InodeUse at = directory.Use(InodeTable::kRootNodeid);
  for (const std::string& name : names) {
    fuse_entry_out found;
    if (const int64_t result = directory.LookupAt(at, name.c_str(), &found); result < 0)
      return result;
    way.Add(found.nodeid);
    at = directory.Use(found.nodeid);
    if (!at) return at.error();
    if (!S_ISDIR(at->type())) return -ENOTDIR;
  }
  if (!by_handle) return directory.LookupAt(at, last.c_str(), entry);
  const UniqueFd fd(at->mount()->Open(wanted.handle, O_PATH));
  return fd ? directory.LookupFd(at, "", fd.get(), entry) : fd.get();
}

int Check(SharedDirectory& directory, const RestoredInode& wanted, uint64_t nodeid) {
  InodeUse use = directory.Use(nodeid);
  if (!use) return use.error();
  FileHandle handle;
  if (!wanted.expected.empty() && (handle.Get(use.fd(), "") < 0 || !(handle == wanted.expected)))
    return -ESTALE;
  if (wanted.handle.empty()) return 0;
  if (S_ISDIR(use->type()) && use->submount() && !BeginsDevice(use))
    directory.inodes().ClearSubmount(use.ref());
  // The handle of what has lost its last name goes stale with those who have it open elsewhere.
  struct statx status;
  if (Status(use.fd(), "", STATX_NLINK, &status) == 0 && status.stx_nlink == 0)
    directory.inodes().Hold(use);
  return 0;
}

int Restore(SharedDirectory& directory, const RestoredInode& wanted) {
  if (wanted.path.empty()) return -ENOENT;
  fuse_entry_out entry;
  if (const int64_t result = Find(directory, wanted, &entry); result < 0)
    return static_cast<int>(result);
  int result = Check(directory, wanted, entry.nodeid);
  if (result == 0)
    result = directory.inodes().Renumber(entry.nodeid, wanted.nodeid, wanted.lookups);
  if (result < 0) directory.Forget(entry.nodeid, 1);
  return result;
}

}  // namespace

LostParts RestoreDirectory(SharedDirectory& directory, const RestoredDirectory& state) {
  LostParts lost;
  directory.inodes().Reserve(state.next_nodeid);
  directory.handles().Reserve(state.next_fh);
  if (state.generation != 0) directory.set_generation(state.generation);
  for (const RestoredInode& inode : state.inodes) {
    const int result = Restore(directory, inode);
    if (result == 0) continue;
    directory.lost().Add(inode.nodeid, inode.lookups);
    lost.inodes.push_back({inode.nodeid, -result});
  }
  for (const SavedHandle& handle : state.handles) {
    const int64_t result = directory.lost().Has(handle.nodeid)
                               ? -EIO
                               : OpenRestored(directory, handle.nodeid, handle.fh, handle.flags);
    if (result < 0) lost.handles.push_back({handle.fh, static_cast<int>(-result)});
  }
  return lost;
}

}  // namespace viewfsd
