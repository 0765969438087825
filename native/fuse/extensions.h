// SPDX-License-Identifier: Apache-2.0
// What a request may carry besides the operation's own bytes (struct fuse_ext_header, FUSE 7.38):
// the caller's groups, and the security label of what is made.
#ifndef VIEWFSD_FUSE_EXTENSIONS_H_
#define VIEWFSD_FUSE_EXTENSIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "fuse/request.h"
#include "session/service_policy.h"

namespace viewfsd {

// Points into the request's bytes.
struct Label {
  // Of the extended attribute; null for no label.
  const char* name = nullptr;
  const uint8_t* value = nullptr;
  uint32_t size = 0;
};

struct Extensions {
  // The guest's ids.
  std::vector<gid_t> groups;
  Label label;
};

// Decodes the extensions at the end of a request. `own_size`: how many bytes of the body come
// before them. Returns 0, -EINVAL, or -ERANGE for the name of a label that is too long.
int TakeExtensions(const FuseRequest& request, const ServicePolicy& policy, Extensions* found,
                   uint32_t* own_size);

// Guests of 7.36 and 7.37 have no extensions, and send the label in what is one now, behind the
// operation's own bytes. `bytes`: where those end. Results as above.
int TakeTrailingLabel(const uint8_t* bytes, uint32_t size, const ServicePolicy& policy,
                      Label* label);

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_EXTENSIONS_H_
