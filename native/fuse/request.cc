// SPDX-License-Identifier: Apache-2.0
#include "fuse/request.h"

#include <algorithm>

namespace viewfsd {

bool DecodeHeader(const uint8_t* bytes, uint32_t size, uint64_t payload_size,
                  FuseRequest* request) {
  if (size < sizeof(fuse_in_header)) return false;
  memcpy(&request->header, bytes, sizeof(request->header));
  // A chain may be longer than the message in it, never shorter.
  const uint32_t length = request->header.len;
  if (length < sizeof(fuse_in_header) || length > size + payload_size) return false;
  const uint32_t end = std::min(length, size);
  request->body = bytes + sizeof(fuse_in_header);
  request->body_size = end - static_cast<uint32_t>(sizeof(fuse_in_header));
  return true;
}

bool WriteReplyHeader(const GuestBuffers& to, uint64_t unique, int error, uint64_t body_size) {
  const fuse_out_header header = {static_cast<uint32_t>(sizeof(header) + body_size), error, unique};
  return to.CopyIn(0, reinterpret_cast<const uint8_t*>(&header), sizeof(header));
}

}  // namespace viewfsd
