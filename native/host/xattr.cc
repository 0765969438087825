// SPDX-License-Identifier: Apache-2.0
#include "host/xattr.h"

#include <sys/xattr.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <vector>

#include "host/credentials.h"
#include "host/repeated.h"

namespace viewfsd {

namespace {

// XATTR_LIST_MAX of Linux.
constexpr size_t kListMax = 65536;

// An O_PATH descriptor takes no fgetxattr(2). Its name in /proc/self/fd leads to the inode itself,
// also to a symbolic link, and no further. That directory is the working directory of a thread that
// serves guests (AttachThread).
class ProcPath {
 public:
  explicit ProcPath(int fd) {
    snprintf(text_, sizeof(text_), ThreadIsAttached() ? "%d" : "/proc/self/fd/%d", fd);
  }
  const char* c_str() const { return text_; }

 private:
  char text_[32];
};

int64_t Result(int64_t returned) { return returned < 0 ? -errno : returned; }

bool IsAcl(const char* name) {
  return strcmp(name, "system.posix_acl_access") == 0 ||
         strcmp(name, "system.posix_acl_default") == 0;
}

}  // namespace

int64_t SetXattr(SharedDirectory& directory, uint64_t nodeid, const char* name, const void* value,
                 size_t size, int flags, bool kill_sgid) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  std::optional<ScopedWithoutFsetid> ordinary;
  if (kill_sgid) ordinary.emplace();
  const ProcPath path(inode.fd());
  const int64_t result = Result(setxattr(path.c_str(), name, value, size, flags));
  if (result != -EEXIST || !IsRepeated()) return result;
  std::vector<char> present(size);
  const bool same =
      getxattr(path.c_str(), name, present.data(), size) == static_cast<ssize_t>(size) &&
      memcmp(present.data(), value, size) == 0;
  return same ? 0 : result;
}

int64_t GetXattr(SharedDirectory& directory, uint64_t nodeid, const char* name, void* value,
                 size_t size) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  return Result(getxattr(ProcPath(inode.fd()).c_str(), name, value, size));
}

int64_t ListXattr(SharedDirectory& directory, uint64_t nodeid, char* list, size_t size,
                  bool hide_acls) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  const ProcPath path(inode.fd());
  if (!hide_acls) return Result(listxattr(path.c_str(), list, size));

  std::vector<char> all(kListMax);
  const ssize_t length = listxattr(path.c_str(), all.data(), all.size());
  if (length < 0) return -errno;
  size_t kept = 0;
  for (size_t position = 0; position < static_cast<size_t>(length);) {
    const char* name = all.data() + position;
    const size_t bytes = strlen(name) + 1;
    position += bytes;
    if (IsAcl(name)) continue;
    if (size > 0) {
      if (bytes > size - kept) return -ERANGE;
      memcpy(list + kept, name, bytes);
    }
    kept += bytes;
  }
  return static_cast<int64_t>(kept);
}

int64_t RemoveXattr(SharedDirectory& directory, uint64_t nodeid, const char* name) {
  const InodeUse inode = directory.Use(nodeid);
  if (!inode) return inode.error();
  const int64_t result = Result(removexattr(ProcPath(inode.fd()).c_str(), name));
  return result == -ENODATA && IsRepeated() ? 0 : result;
}

}  // namespace viewfsd
