// SPDX-License-Identifier: Apache-2.0
// A DAX window as SETUPMAPPING and REMOVEMAPPING see it. Offsets and lengths are bytes, `moffset`
// from the window's start. Any thread may call anything.
#ifndef VIEWFSD_WINDOW_H_
#define VIEWFSD_WINDOW_H_

#include <cstdint>
#include <span>

namespace viewfsd {

struct WindowPart {
  uint64_t moffset;
  uint64_t length;
};

// A part of the window and of the file that it shows.
struct WindowRange {
  uint64_t moffset;
  uint64_t length;
  uint64_t foffset;
};

// Of a part of a window, bytes: what the frontend's page tables have of it now, and of that by huge
// pages; besides the page faults served there.
struct WindowUse {
  uint64_t faults;
  uint64_t mapped;
  uint64_t huge;
};

class Window {
 public:
  virtual ~Window() = default;
  Window() = default;
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  // Whether Map can map over a range of the same file, to make it writable. What can't be upgraded
  // is writable at once where its descriptor is.
  virtual bool upgrades() const = 0;
  // Shows a range of an inode's file, over whatever was there; it may end beyond the end of the
  // file. `fd` stays the caller's. Returns 0 or -errno: -ENOTCONN for a request of an older session
  // (guest_session.h), -EINTR where the stop of a queue interrupted it, and the same can be asked
  // for again.
  virtual int Map(uint64_t nodeid, const WindowRange& range, int fd, bool writable) = 0;
  // Holes are no error. Returns as Map does.
  virtual int Unmap(std::span<const WindowPart> parts) = 0;
  // Whether that can be told.
  virtual bool Use(const WindowPart& part, WindowUse* out) const = 0;
};

}  // namespace viewfsd

#endif  // VIEWFSD_WINDOW_H_
