// SPDX-License-Identifier: Apache-2.0
#include "host/save_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "host/file_syscalls.h"

namespace viewfsd {
namespace {

// O_PATH, and nowhere else than below the root.
UniqueFd OpenBelow(int root, const std::string& path, uint64_t flags) {
  open_how how = {};
  how.flags = flags | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  return UniqueFd(static_cast<int>(
      syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof(how))));
}

// Finds the paths of inodes.
class Paths {
 public:
  explicit Paths(SharedDirectory& directory)
      : directory_(directory),
        root_(directory.Use(InodeTable::kRootNodeid)),
        prefix_(DescribePath(directory, InodeTable::kRootNodeid)) {
    if (prefix_ == "/") prefix_.clear();
  }

  // By the name that the kernel has for it, if that still leads there. Empty where it does not.
  std::string Find(const Inode& inode) {
    const std::string described = DescribePath(directory_, inode.nodeid());
    if (described.size() <= prefix_.size() + 1 || !described.starts_with(prefix_) ||
        described[prefix_.size()] != '/')
      return {};
    std::string path = described.substr(prefix_.size() + 1);
    return Leads(path, inode.key()) ? path : std::string();
  }

  // Looks through the share for inodes that Find has not found. To be called once.
  size_t Search(const std::vector<SavedInode*>& missing) {
    std::unordered_multimap<uint64_t, SavedInode*> by_number;
    for (SavedInode* inode : missing)
      if (const InodeRef known = directory_.inodes().Get(inode->nodeid); known != nullptr)
        by_number.emplace(known->key().number, inode);
    size_t found = 0;
    std::vector<std::string> directories = {""};
    while (!directories.empty() && !by_number.empty()) {
      const std::string above = std::move(directories.back());
      directories.pop_back();
      UniqueFd fd = OpenBelow(root_.fd(), above, O_RDONLY | O_DIRECTORY);
      if (!fd) continue;
      const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd.get()), closedir);
      if (stream == nullptr) continue;
      fd.release();
      while (const dirent* entry = readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        std::string path = above.empty() ? name : above + "/" + name;
        found += Match(by_number, entry->d_ino, path);
        if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
          directories.push_back(std::move(path));
      }
    }
    return found;
  }

  // Where the root of a mount is; "." for the share's own, and where it can't be told.
  std::string OfMount(const Mount& mount) {
    if (mount.held()) return ".";
    const UniqueFd fd(mount.OpenRoot(O_PATH));
    if (!fd) return ".";
    char text[PATH_MAX];
    const ssize_t length =
        readlinkat(directory_.proc_fds(), FdName(fd.get()).c_str(), text, sizeof(text));
    const std::string described(text, length < 0 ? 0 : static_cast<size_t>(length));
    return described.size() > prefix_.size() + 1 && described.starts_with(prefix_)
               ? described.substr(prefix_.size() + 1)
               : ".";
  }

 private:
  bool Leads(const std::string& path, const InodeKey& key) const {
    const UniqueFd fd = OpenBelow(root_.fd(), path, O_PATH);
    struct statx status;
    return fd && Status(fd.get(), "", kAttributeMask, &status) == 0 &&
           status.stx_ino == key.number && DeviceOf(status) == key.device;
  }

  size_t Match(std::unordered_multimap<uint64_t, SavedInode*>& by_number, uint64_t number,
               const std::string& path) {
    auto [next, end] = by_number.equal_range(number);
    while (next != end) {
      const InodeRef inode = directory_.inodes().Get(next->second->nodeid);
      if (inode == nullptr || !Leads(path, inode->key())) {
        ++next;
        continue;
      }
      next->second->path = path;
      by_number.erase(next);
      return 1;
    }
    return 0;
  }

  SharedDirectory& directory_;
  const InodeUse root_;
  // Of the shared directory, as this process sees it.
  std::string prefix_;
};

// Kept where they were opened for; what open(2) alone takes is not.
constexpr int kKeptFlags =
    O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_DIRECTORY;

void SaveHandle(const InodeUse& use, SavedInode* saved) {
  if (use->has_handle())
    saved->handle = use->handle();
  else if (saved->handle.Get(use.fd(), "") < 0)
    return;
  saved->mount = use->key().mount;
}

bool HasName(int fd) {
  struct statx status;
  return Status(fd, "", STATX_NLINK, &status) < 0 || status.stx_nlink > 0;
}

// False where there is no such file any more, and the guest does not have it open: it will forget
// it soon, and can do nothing with it meanwhile that does not fail with ESTALE as it is.
bool SaveInode(SharedDirectory& directory, const SaveWish& wish, bool open, Paths& paths,
               SavedInode* saved) {
  const InodeUse use = directory.Use(saved->nodeid);
  // What is open and is gone on the host is lost.
  if (!use) return open || use.error() != -ESTALE;
  if (!open && !HasName(use.fd())) return false;
  if (wish.paths) saved->path = paths.Find(*use);
  if (wish.handles || !wish.paths) SaveHandle(use, saved);
  return true;
}

std::vector<SavedHandle> SaveHandles(SharedDirectory& directory) {
  std::vector<SavedHandle> saved;
  size_t place = 0;
  do {
    for (const HandleTable::Open& open : directory.handles().From(&place)) {
      const HandleRef handle = directory.handles().Get(open.fh, open.nodeid, open.kind);
      const int flags = handle == nullptr ? -1 : fcntl(handle.fd(), F_GETFL);
      if (flags >= 0) saved.push_back({open.fh, open.nodeid, flags & kKeptFlags});
    }
  } while (place != 0);
  return saved;
}

// What is behind a handle may be read on another host by the time that this one is closed. NFS and
// its like promise no more than that what one has closed is there when another one opens it.
int FlushAll(SharedDirectory& directory, const std::vector<SavedHandle>& handles) {
  int error = 0;
  for (const SavedHandle& handle : handles) {
    if ((handle.flags & O_ACCMODE) == O_RDONLY) continue;
    const int64_t result = FlushFile(directory, handle.nodeid, handle.fh);
    if (result < 0 && error == 0) error = static_cast<int>(-result);
  }
  return error;
}

}  // namespace

SavedDirectory SaveDirectory(SharedDirectory& directory, const SaveWish& wish) {
  SavedDirectory saved;
  saved.next_nodeid = directory.inodes().next_nodeid();
  saved.next_fh = directory.handles().next_fh();
  saved.generation = directory.generation();
  size_t place = 0;
  do {
    for (const InodeTable::Known& known : directory.inodes().KnownFrom(&place))
      if (known.nodeid != InodeTable::kRootNodeid)
        saved.inodes.push_back({known.nodeid, known.lookups, {}, {}, 0});
  } while (place != 0);

  saved.handles = SaveHandles(directory);
  saved.write_error = FlushAll(directory, saved.handles);
  std::unordered_set<uint64_t> open;
  for (const SavedHandle& handle : saved.handles) open.insert(handle.nodeid);
  Paths paths(directory);
  std::erase_if(saved.inodes, [&](SavedInode& inode) {
    return !SaveInode(directory, wish, open.contains(inode.nodeid), paths, &inode);
  });
  std::vector<SavedInode*> missing;
  for (SavedInode& inode : saved.inodes)
    if (wish.paths && inode.path.empty()) missing.push_back(&inode);
  if (!missing.empty()) saved.searched = paths.Search(missing);
  for (SavedInode& inode : saved.inodes) {
    // A handle alone is not how it was wished to be found.
    if (wish.paths && inode.path.empty()) inode.handle = FileHandle();
    if (wish.paths || inode.handle.empty() || saved.mount_paths.contains(inode.mount)) continue;
    const InodeRef known = directory.inodes().Get(inode.nodeid);
    if (known != nullptr) saved.mount_paths[inode.mount] = paths.OfMount(*known->mount());
  }
  for (const auto& [nodeid, lookups] : directory.lost().All())
    saved.inodes.push_back({nodeid, lookups, {}, {}, 0});
  return saved;
}

}  // namespace viewfsd
