// SPDX-License-Identifier: Apache-2.0
#include "host/forget_mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <vector>

#include "util/unique_fd.h"
#include "window/window.h"

namespace viewfsd {
namespace {

// What is looked at while nobody else can.
constexpr size_t kAtOnce = 256;

// A descriptor of `path` below the root, O_PATH, or -errno.
int Walk(int root, const char* path) {
  UniqueFd at(fcntl(root, F_DUPFD_CLOEXEC, 0));
  const std::string text = path;
  for (size_t start = 0; at && start < text.size();) {
    size_t end = text.find('/', start);
    if (end == std::string::npos) end = text.size();
    const std::string name = text.substr(start, end - start);
    start = end + 1;
    if (name.empty()) continue;
    if (!IsComponent(name.c_str(), name.size())) return -EINVAL;
    const int next = openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return -errno;
    at.reset(next);
  }
  return at ? at.release() : -errno;
}

// The mount whose root is at `path`. Its id, or -errno.
int64_t FindMountAt(SharedDirectory& directory, const char* path) {
  const InodeUse root = directory.Use(InodeTable::kRootNodeid);
  if (!root) return root.error();
  const UniqueFd fd(Walk(root.fd(), path));
  if (!fd) return fd.get();
  struct statx status;
  if (const int result = Status(fd.get(), "", kAttributeMask, &status); result < 0) return result;
  const bool is_root = (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  if (!is_root || status.stx_mnt_id == root->key().mount) return -EINVAL;
  return static_cast<int64_t>(status.stx_mnt_id);
}

bool IsIn(SharedDirectory& directory, uint64_t nodeid, uint64_t mount) {
  const InodeRef inode = directory.inodes().Get(nodeid);
  return inode != nullptr && inode->mount()->id() == mount;
}

std::vector<WindowPart> RangesIn(SharedDirectory& directory, uint64_t mount) {
  std::vector<WindowPart> parts;
  uint64_t next = 0;
  for (;;) {
    const std::vector<MappedRange> some = directory.mapped_ranges().From(next, kAtOnce);
    for (const MappedRange& mapped : some) {
      next = mapped.range.moffset + mapped.range.length;
      if (IsIn(directory, mapped.nodeid, mount))
        parts.push_back({mapped.range.moffset, mapped.range.length});
    }
    if (some.size() < kAtOnce) return parts;
  }
}

}  // namespace

int ForgetMount(SharedDirectory& directory, const char* path, bool may_unmap, ForgottenMount* out) {
  const int64_t found = FindMountAt(directory, path);
  if (found < 0) return static_cast<int>(found);
  const auto mount = static_cast<uint64_t>(found);

  const std::vector<WindowPart> parts = RangesIn(directory, mount);
  if (!parts.empty()) {
    Window* window = directory.window();
    if (!may_unmap || window == nullptr) return -EBUSY;
    if (const int result = window->Unmap(parts); result < 0) return result;
    for (const WindowPart& part : parts) directory.mapped_ranges().Remove(part);
    out->ranges = parts.size();
  }

  size_t place = 0;
  do {
    for (const HandleTable::Open& open : directory.handles().From(&place)) {
      if (!IsIn(directory, open.nodeid, mount)) continue;
      if (directory.handles().Remove(open.fh, open.nodeid, open.kind).nodeid != 0) out->handles++;
    }
  } while (place != 0);

  // What has come meanwhile may lie where nobody looked again.
  for (bool some = true; some;) {
    some = false;
    do {
      for (const uint64_t nodeid : directory.inodes().KnownFrom(&place, mount)) {
        directory.locks().DropInode(nodeid);
        if (!directory.inodes().Forget(nodeid, UINT64_MAX)) continue;
        out->inodes++;
        some = true;
      }
    } while (place != 0);
  }
  return 0;
}

}  // namespace viewfsd
