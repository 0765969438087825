// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_SHMEM_WINDOW_H_
#define VIEWFSD_SHMEM_WINDOW_H_

#include <memory>

#include "virtio/device.h"
#include "window/window.h"

namespace viewfsd {

// A window whose ranges the frontend maps, one message each. It can neither replace a mapping in
// one step nor map beyond the end of a file, so what it can't do exactly fails: a guest must never
// see wrong bytes.
class ShmemWindow final : public Window {
 public:
  explicit ShmemWindow(const std::shared_ptr<Device>& device) : device_(device) {}

  bool upgrades() const override { return false; }
  // Writable at once where the descriptor allows it. -ENXIO beyond the end of the file, -EBUSY
  // where something else is mapped, -EACCES, -EIO refused, -ENOTCONN, -EINTR, -ETIMEDOUT.
  int Map(uint64_t nodeid, const WindowRange& range, int fd, bool writable) override;
  // All of them, as far as possible. -EINVAL where a mapping lies only partly in one.
  int Unmap(std::span<const WindowPart> parts) override;
  // What the frontend does with its mappings is its own.
  bool Use(const WindowPart&, WindowUse*) const override { return false; }

 private:
  const std::weak_ptr<Device> device_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_SHMEM_WINDOW_H_
