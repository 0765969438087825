// SPDX-License-Identifier: Apache-2.0
// An inode of the table, a reference to it, and its use with a descriptor. What they do is in
// inode_table.h.
#ifndef VIEWFSD_INODE_H_
#define VIEWFSD_INODE_H_

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "host/file_handle.h"
#include "host/freshness.h"
#include "host/inode_record.h"
#include "host/mount.h"
#include "util/unique_fd.h"

namespace viewfsd {

// What makes two names the same inode, as long as it lives. The mount belongs to it: through a bind
// mount the same directory has other children mounted on it.
struct InodeKey {
  uint64_t device;
  uint64_t number;
  uint64_t mount;

  bool operator==(const InodeKey&) const = default;
};

// What a lookup has found out about an inode.
struct InodeFacts {
  InodeKey key;
  // S_IFMT bits; an inode never changes them.
  uint32_t type;
  // Nanoseconds since the epoch; INT64_MIN where the file system has none.
  int64_t birth;
  // The guest is told that another file system begins here.
  bool submount = false;
  // The device that the guest sees it on: that of the nearest submount above, or its own, or of the
  // share.
  uint64_t home = 0;
};

class InodeTable;

// What is known of an inode; as long as somebody refers to it (InodeRef).
class Inode {
 public:
  uint64_t nodeid() const { return record_->nodeid; }
  InodeKey key() const { return {record_->device, record_->number, mount()->id()}; }
  uint32_t type() const { return record_->type; }
  bool submount() const { return record_->submount; }
  uint64_t home() const { return record_->home; }
  const std::shared_ptr<const Mount>& mount() const;
  // Whether its mount finds it: the shared directory, or what a mount point names.
  bool is_mount_root() const { return record_->mount_root; }
  // Without one it holds a descriptor instead, or its mount finds it.
  bool has_handle() const { return record_->handle_size > 0; }
  FileHandle handle() const;
  ToldVersion& told() const { return record_->told; }
  // How often the guest has it open for writing; counted only where there is a memory view.
  std::atomic<uint32_t>& writers() const { return record_->writers; }

 private:
  friend class InodeRef;
  friend class InodeTable;
  friend class InodeUse;

  Inode(InodeTable* table, InodeRecord* record) : table_(table), record_(record) {}

  InodeTable* table_;
  InodeRecord* record_;
};

class InodeRef {
 public:
  InodeRef() : inode_(nullptr, nullptr) {}
  InodeRef(InodeRef&& other) noexcept
      : inode_(std::exchange(other.inode_, Inode(nullptr, nullptr))) {}
  InodeRef(const InodeRef& other) : InodeRef(other.inode_) {}
  InodeRef& operator=(InodeRef other) noexcept {
    std::swap(inode_, other.inode_);
    return *this;
  }
  ~InodeRef();
  const Inode& operator*() const { return inode_; }
  const Inode* operator->() const { return &inode_; }
  bool operator==(std::nullptr_t) const { return inode_.record_ == nullptr; }

 private:
  friend class InodeTable;

  // One more reference; the table's mutex, or another reference, keeps the inode meanwhile.
  explicit InodeRef(const Inode& inode) : inode_(inode) {
    if (inode_.record_ != nullptr)
      inode_.record_->references.fetch_add(1, std::memory_order_relaxed);
  }

  Inode inode_;
};

// An inode and a descriptor of it, O_PATH, which stays open as long as this object. Or -errno.
class InodeUse {
 public:
  explicit InodeUse(int error) : fd_(error) {}
  // With a descriptor that lives as long as the inode, or longer than this object.
  InodeUse(InodeRef inode, int fd) : inode_(std::move(inode)), fd_(fd) {}
  // With one of its own.
  InodeUse(InodeRef inode, UniqueFd fd)
      : inode_(std::move(inode)), own_(std::move(fd)), fd_(own_.get()) {}
  InodeUse(InodeUse&& other) noexcept
      : inode_(std::move(other.inode_)),
        own_(std::move(other.own_)),
        cached_(std::exchange(other.cached_, 0)),
        fd_(std::exchange(other.fd_, -ENOENT)) {}
  InodeUse& operator=(InodeUse&& other) noexcept {
    std::swap(inode_, other.inode_);
    std::swap(own_, other.own_);
    std::swap(cached_, other.cached_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~InodeUse();

  explicit operator bool() const { return fd_ >= 0; }
  int error() const { return fd_; }
  int fd() const { return fd_; }
  const Inode& operator*() const { return *inode_; }
  const Inode* operator->() const { return &*inode_; }
  const InodeRef& ref() const { return inode_; }

 private:
  friend class InodeTable;

  InodeRef inode_;
  UniqueFd own_;
  // The place in the table's cache that the descriptor is in.
  uint32_t cached_ = 0;
  int fd_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_INODE_H_
