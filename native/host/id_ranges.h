// SPDX-License-Identifier: Apache-2.0
// User or group ids of one side as the other has them (--translate-uid, --translate-gid): what the
// control plane has made of the options.
#ifndef VIEWFSD_ID_RANGES_H_
#define VIEWFSD_ID_RANGES_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace viewfsd {

// Ids [first, first + count).
struct IdRange {
  enum class Kind : uint32_t {
    // They become ids from `to` on.
    kShifted = 0,
    // They all become `to`.
    kSquashed = 1,
    // Nobody may have them.
    kForbidden = 2,
  };
  uint32_t first;
  uint32_t count;
  uint32_t to;
  Kind kind;
};

class IdRanges {
 public:
  // Said by chown and idmapped mounts where they mean no id at all; never translated.
  static constexpr uint32_t kNoId = UINT32_MAX;

  IdRanges() = default;
  // The first one counts that an id lies in; in none it stays as it is.
  explicit IdRanges(std::vector<IdRange> ranges) : ranges_(std::move(ranges)) {}

  // False for an id that is forbidden.
  bool Translate(uint32_t* id) const {
    for (const IdRange& range : ranges_) {
      if (*id == kNoId || *id - range.first >= range.count) continue;
      if (range.kind == IdRange::Kind::kForbidden) return false;
      *id = range.kind == IdRange::Kind::kSquashed ? range.to : range.to + (*id - range.first);
      return true;
    }
    return true;
  }
  uint32_t Translated(uint32_t id) const {
    Translate(&id);
    return id;
  }

 private:
  std::vector<IdRange> ranges_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_ID_RANGES_H_
