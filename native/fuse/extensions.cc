// SPDX-License-Identifier: Apache-2.0
#include "fuse/extensions.h"

#include <cerrno>
#include <cstring>

namespace viewfsd {

namespace {

// As linux/fuse.h has them since 7.36 and 7.38, which is newer than that of some build machines.
struct ExtensionHeader {
  uint32_t size;
  uint32_t type;
};
struct SecurityContext {
  uint32_t size;
  uint32_t padding;
};
// Types up to this one count security contexts.
constexpr uint32_t kMostContexts = 31;
constexpr uint32_t kGroups = 32;
// XATTR_NAME_MAX
constexpr size_t kLabelNameMax = 255;

// fuse_in_header.total_extlen, likewise.
uint32_t TotalUnits(const fuse_in_header& header) {
  uint16_t units;
  memcpy(&units, reinterpret_cast<const uint8_t*>(&header) + 36, sizeof(units));
  return units;
}

template <typename Struct>
Struct At(const uint8_t* bytes) {
  Struct value;
  memcpy(&value, bytes, sizeof(value));
  return value;
}

// `nr_groups`, and so many ids. Linux sends the one group that owns the parent directory, or none;
// others may send all that the caller has.
int TakeGroups(const uint8_t* bytes, uint32_t size, std::vector<gid_t>* groups) {
  if (size < sizeof(uint32_t)) return -EINVAL;
  const auto count = At<uint32_t>(bytes);
  if (count > (size - sizeof(uint32_t)) / sizeof(gid_t)) return -EINVAL;
  groups->resize(count);
  if (count > 0) memcpy(groups->data(), bytes + sizeof(uint32_t), count * sizeof(gid_t));
  return 0;
}

// `count` times struct fuse_secctx, a name, and the value. Linux sends one, or none.
int TakeContexts(const uint8_t* bytes, uint32_t size, uint32_t count, Label* label) {
  if (count == 0) return 0;
  if (count > 1 || size < sizeof(SecurityContext)) return -EINVAL;
  const uint32_t value_size = At<SecurityContext>(bytes).size;
  bytes += sizeof(SecurityContext);
  size -= sizeof(SecurityContext);
  const char* name = reinterpret_cast<const char*>(bytes);
  const size_t length = strnlen(name, size);
  if (length == size || length == 0) return -EINVAL;
  if (length > kLabelNameMax) return -ERANGE;
  const auto behind = static_cast<uint32_t>(length) + 1;
  if (value_size > size - behind) return -EINVAL;
  *label = {name, bytes + behind, value_size};
  return 0;
}

}  // namespace

int TakeExtensions(const FuseRequest& request, const ServicePolicy& policy, Extensions* found,
                   uint32_t* own_size) {
  *own_size = request.body_size;
  // Older guests have padding there, and may leave anything in it.
  const uint32_t total = policy.extensions ? TotalUnits(request.header) * 8U : 0;
  if (total > request.body_size) return -EINVAL;
  *own_size -= total;
  const uint8_t* bytes = request.body + *own_size;
  for (uint32_t left = total; left > 0;) {
    if (left < sizeof(ExtensionHeader)) return -EINVAL;
    const auto header = At<ExtensionHeader>(bytes);
    if (header.size < sizeof(header) || header.size > left) return -EINVAL;
    const uint8_t* content = bytes + sizeof(header);
    const auto size = static_cast<uint32_t>(header.size - sizeof(header));
    int result = 0;
    if (header.type <= kMostContexts)
      result = TakeContexts(content, size, header.type, &found->label);
    else if (header.type == kGroups)
      result = TakeGroups(content, size, &found->groups);
    if (result < 0) return result;
    // `left` is a multiple of eight.
    const uint32_t padded = (header.size + 7) & ~7U;
    bytes += padded;
    left -= padded;
  }
  return 0;
}

int TakeTrailingLabel(const uint8_t* bytes, uint32_t size, const ServicePolicy& policy,
                      Label* label) {
  if (!policy.labels || policy.extensions || size == 0) return 0;
  if (size < sizeof(ExtensionHeader)) return -EINVAL;
  const auto header = At<ExtensionHeader>(bytes);
  if (header.size < sizeof(header) || header.size > size) return -EINVAL;
  return TakeContexts(bytes + sizeof(header), static_cast<uint32_t>(header.size - sizeof(header)),
                      header.type, label);
}

}  // namespace viewfsd
