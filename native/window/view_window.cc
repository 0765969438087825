// SPDX-License-Identifier: Apache-2.0
#include "window/view_window.h"

#include <linux/memory_view.h>

#include <algorithm>
#include <cerrno>

#include "session/guest_session.h"
#include "window/view_ioctl.h"

namespace viewfsd {

int ViewWindow::Map(uint64_t nodeid, const WindowRange& range, int fd, bool writable) {
  const SessionHold session;
  return session ? ranges_.Map(nodeid, range, fd, writable) : -ENOTCONN;
}

int ViewWindow::Unmap(std::span<const WindowPart> parts) {
  const SessionHold session;
  if (!session) return -ENOTCONN;
  for (const WindowPart& part : parts) ranges_.Forget(part.moffset, part.length);
  memview_range batch[MEMVIEW_UNMAP_MAX];
  while (!parts.empty()) {
    const size_t count = std::min<size_t>(parts.size(), MEMVIEW_UNMAP_MAX);
    for (size_t i = 0; i < count; i++) batch[i] = {parts[i].moffset, parts[i].length};
    memview_unmap_batch request = {reinterpret_cast<__u64>(batch), static_cast<__u32>(count), 0};
    const int result = ViewIoctl(view_, MEMVIEW_UNMAP_FDS, &request);
    if (result < 0) return result;
    parts = parts.subspan(count);
  }
  return 0;
}

bool ViewWindow::Use(const WindowPart& part, WindowUse* out) const {
  memview_use use = {};
  use.range = {part.moffset, part.length};
  if (ViewIoctl(view_, MEMVIEW_GET_USE, &use) < 0) return false;
  *out = {use.faults, use.mapped, use.huge};
  return true;
}

}  // namespace viewfsd
