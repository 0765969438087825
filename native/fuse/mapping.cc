// SPDX-License-Identifier: Apache-2.0
// SETUPMAPPING and REMOVEMAPPING: ranges of files in the DAX window.
//
// Linux maps 2 MiB ranges, by nodeid (fh is -1), beyond the end of the file too, and makes a
// readable range writable by a second SETUPMAPPING over it. Nothing of that is assumed but the
// window's granularity.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "fuse/data_plane.h"
#include "host/open_files.h"
#include "util/probes.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

// fuse_init_out.map_alignment says so (server/operations/init.ts).
constexpr uint64_t kAlignment = 4096;
constexpr uint64_t kKnownFlags = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE;
// FUSE_REMOVEMAPPING_MAX_ENTRY for pages of 4 KiB.
constexpr uint32_t kMaxEntries = 4096 / sizeof(fuse_removemapping_one);

// Aligned, not empty, inside.
bool IsPart(uint64_t moffset, uint64_t length, uint64_t window_size) {
  return length > 0 && length <= window_size && moffset <= window_size - length &&
         moffset % kAlignment == 0 && length % kAlignment == 0;
}

}  // namespace

int64_t DataPlane::MapFile(uint64_t nodeid, const fuse_setupmapping_in& in) {
  Window* window = directory_.window();
  if (!policy_->window.shown || window == nullptr) return -ENODEV;
  if (in.flags == 0 || (in.flags & ~kKnownFlags) != 0) return -EINVAL;
  if (!IsPart(in.moffset, in.len, policy_->window.size)) return -EINVAL;
  if (in.foffset % kAlignment != 0 || in.foffset > INT64_MAX - in.len) return -EINVAL;
  const bool writable = (in.flags & FUSE_SETUPMAPPING_FLAG_WRITE) != 0;
  const bool read_only = policy_->open.read_only;
  if (writable && read_only) return -EROFS;
  const auto open = [&](bool for_writing) {
    return UniqueFd(static_cast<int>(OpenMappingRange(directory_, nodeid, for_writing,
                                                      static_cast<int64_t>(in.foffset),
                                                      static_cast<int64_t>(in.len))));
  };
  UniqueFd fd;
  if (!writable && !read_only && !window->upgrades()) fd = open(true);
  if (!fd && fd.get() != -EWOULDBLOCK) fd = open(writable);
  // A lease on the host is in the way.
  waits_ = fd.get() == -EWOULDBLOCK;
  if (!fd) return fd.get();
  const int result = window->Map(nodeid, {in.moffset, in.len, in.foffset}, fd.get(), writable);
  // The frontend was asked and has not answered yet; asking again for what it has mapped by then
  // does no harm.
  interrupted_ = result == -EINTR;
  if (result < 0) return result;
  VIEWFSD_PROBE5(map, nodeid, in.moffset, in.len, in.foffset, writable);
  directory_.mapped_ranges().Add(nodeid, {in.moffset, in.len, in.foffset}, writable,
                                 policy_->window.size);
  return 0;
}

int64_t DataPlane::Setupmapping(const FuseRequest& request) {
  if (policy_->window.size == 0) return -ENOSYS;
  const auto in = request.In<fuse_setupmapping_in>();
  const int64_t result = MapFile(request.header.nodeid, in);
  if (result == 0 && !waits_ && !interrupted_ && (in.flags & FUSE_SETUPMAPPING_FLAG_WRITE) != 0)
    moved_ = 1;
  return result;
}

// All entries are checked before the first one is unmapped.
int64_t DataPlane::Removemapping(const FuseRequest& request) {
  Window* window = directory_.window();
  if (policy_->window.size == 0 || window == nullptr) return -ENOSYS;
  const uint32_t count = request.In<fuse_removemapping_in>().count;
  const uint8_t* first = request.body + sizeof(fuse_removemapping_in);
  if (count == 0 || count > kMaxEntries) return -EINVAL;
  if ((request.body_size - sizeof(fuse_removemapping_in)) / sizeof(fuse_removemapping_one) < count)
    return -EINVAL;
  std::array<WindowPart, kMaxEntries> parts;
  for (uint32_t i = 0; i < count; i++) {
    fuse_removemapping_one one;
    memcpy(&one, first + i * sizeof(one), sizeof(one));
    if (!IsPart(one.moffset, one.len, policy_->window.size)) return -EINVAL;
    parts[i] = {one.moffset, one.len};
  }
  const int result = window->Unmap({parts.data(), count});
  interrupted_ = result == -EINTR;
  if (result < 0) return result;
  for (uint32_t i = 0; i < count; i++) {
    VIEWFSD_PROBE2(unmap, parts[i].moffset, parts[i].length);
    directory_.mapped_ranges().Remove(parts[i]);
  }
  moved_ = count;
  return 0;
}

}  // namespace viewfsd
