// SPDX-License-Identifier: Apache-2.0
// Serves the hot FUSE operations of one queue's thread: decodes, checks and executes them without
// entering JavaScript. What the policy does not give to it, it leaves alone ("ask").
//
//   request ──► DataPlane::Serve ──► inode.cc  read_write.cc   directory.cc ... ──► SharedDirectory
//                 │ policy: ask
//                 ▼
//               control plane (server/)
#ifndef VIEWFSD_FUSE_DATA_PLANE_H_
#define VIEWFSD_FUSE_DATA_PLANE_H_

#include <cstdint>
#include <memory>

#include "fuse/request.h"
#include "host/shared_directory.h"
#include "session/counters.h"
#include "session/service_policy.h"

namespace viewfsd {

class DataPlane {
 public:
  // `directory` and `counters` outlive the object.
  DataPlane(SharedDirectory& directory, FuseCounters& counters)
      : directory_(directory), counters_(counters) {}

  // Serves one request. `reply` has room for the body of any reply, `reply_room` bytes; what the
  // guest has room for is in the request. `again`: it has been set aside meanwhile, and is counted.
  Answer Serve(const FuseRequest& request, uint8_t* reply, uint64_t reply_room, bool again = false);

  // To be called when the answer has reached the guest: closes what a RELEASE gave up, which may
  // take long.
  void AfterReply();

 private:
  // -errno, or the bytes of the body.
  using Handler = int64_t (DataPlane::*)(const FuseRequest&);
  struct Operation {
    Handler handler = nullptr;
    // Bytes that must follow the header, and that the reply must have room for.
    uint32_t in_size = 0;
    uint32_t out_size = 0;
    // FUSE sends no reply, not even an error.
    bool silent = false;
  };
  static const Operation* Find(uint32_t opcode);

  template <typename Struct>
  int64_t Put(const Struct& out) {
    memcpy(reply_, &out, sizeof(out));
    return sizeof(out);
  }

  // inode.cc
  int64_t Lookup(const FuseRequest& request);
  int64_t Forget(const FuseRequest& request);
  int64_t BatchForget(const FuseRequest& request);
  int64_t Getattr(const FuseRequest& request);
  // open.cc
  int64_t Open(const FuseRequest& request);
  int64_t Opendir(const FuseRequest& request);
  // read_write.cc
  int64_t Read(const FuseRequest& request);
  int64_t Write(const FuseRequest& request);
  // directory.cc
  int64_t Readdir(const FuseRequest& request);
  int64_t Readdirplus(const FuseRequest& request);
  int64_t List(const FuseRequest& request, bool plus);
  // release.cc
  int64_t Release(const FuseRequest& request);
  int64_t Releasedir(const FuseRequest& request);

  SharedDirectory& directory_;
  FuseCounters& counters_;

  std::shared_ptr<const ServicePolicy> policy_;
  uint64_t policy_generation_ = 0;

  // Of the request that is being served.
  uint8_t* reply_ = nullptr;
  // Bytes that the body may have.
  uint64_t capacity_ = 0;
  // The body is in the guest's buffers already.
  bool in_place_ = false;
  // Somebody on the host is in the way.
  bool waits_ = false;
  // Closes after the reply.
  HandleRef released_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_DATA_PLANE_H_
