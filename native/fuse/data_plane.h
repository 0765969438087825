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
#include <optional>
#include <utility>
#include <vector>

#include "fuse/pending_read.h"
#include "fuse/request.h"
#include "host/credentials.h"
#include "host/shared_directory.h"
#include "session/counters.h"
#include "session/service_policy.h"

namespace viewfsd {

class RequestPool;

class DataPlane {
 public:
  // Of a queue's thread. `directory`, `counters` and `pool` outlive the object. With a pool, what
  // may have to wait is put off, else it waits here.
  DataPlane(SharedDirectory& directory, FuseCounters& counters, RequestPool* pool = nullptr)
      : directory_(directory), counters_(&counters), pool_(pool) {}
  // Of a thread of the pool.
  explicit DataPlane(SharedDirectory& directory) : directory_(directory) {}

  // Serves one request. `reply` has room for the body of any reply, `reply_room` bytes; what the
  // guest has room for is in the request. `again`: it has been set aside meanwhile, and is counted.
  Answer Serve(const FuseRequest& request, uint8_t* reply, uint64_t reply_room, bool again = false);
  // One that has been put off, under the policy of that time.
  Answer ServePutOff(const FuseRequest& request, std::shared_ptr<const ServicePolicy> policy,
                     uint8_t* reply, uint64_t reply_room);
  // What the request that was put off last can be given to a ReadRing by; nothing where it can't
  // be.
  std::optional<PendingRead> TakePendingRead() {
    return std::exchange(pending_read_, std::nullopt);
  }
  // What became of one that had been put off, for the counters.
  void Count(uint32_t opcode, const Answer& answer);
  // The policy under which the last request was served.
  const std::shared_ptr<const ServicePolicy>& policy() const { return policy_; }
  // Whether it is to be noted when a request is begun, since a successor of the process can't just
  // serve it again.
  static bool IsOnce(uint32_t opcode) {
    const Operation* operation = Find(opcode);
    return operation != nullptr && operation->once;
  }
  static Order OrderOf(const FuseRequest& request);

  // To be called when the answer has reached the guest: closes what a RELEASE gave up, which may
  // take long.
  void AfterReply();

 private:
  // -errno, kWouldWait, or the bytes of the body.
  static constexpr int64_t kWouldWait = INT64_MIN;
  using Handler = int64_t (DataPlane::*)(const FuseRequest&);
  struct Operation {
    Handler handler = nullptr;
    // Bytes that must follow the header, and that the reply must have room for.
    uint32_t in_size = 0;
    uint32_t out_size = 0;
    // FUSE sends no reply, not even an error.
    bool silent = false;
    // Asks the inode's file system, which may take its time.
    bool asks = false;
    // To serve it again is not the same: see host/repeated.h.
    bool once = false;
    // Does nothing where the file system is memory.
    bool syncs = false;
  };
  static const Operation* Find(uint32_t opcode);
  void CountResult(uint32_t opcode, const Answer& answer);
  bool IsLost(const FuseRequest& request) const;
  bool IsPutOff(const Operation& operation, const FuseRequest& request);
  Answer Perform(const Operation& operation, const FuseRequest& request, uint8_t* reply,
                 uint64_t reply_room);
  // Of a queue's thread with a pool.
  bool must_not_wait() const { return pool_ != nullptr; }

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
  bool Tries(Wait wait) const;
  int64_t Read(const FuseRequest& request);
  int64_t PutOffRead(HandleRef handle, const fuse_read_in& in, uint64_t done);
  uint64_t AppendedBefore(const FuseRequest& request, uint64_t size);
  int64_t Write(const FuseRequest& request);
  // sync.cc
  int64_t Flush(const FuseRequest& request);
  int64_t Fsync(const FuseRequest& request);
  int64_t Fsyncdir(const FuseRequest& request);
  int64_t Sync(const FuseRequest& request, HandleKind kind);
  int64_t Syncfs(const FuseRequest& request);
  int64_t Fallocate(const FuseRequest& request);
  int64_t CopyFileRange(const FuseRequest& request);
  int64_t CopyFileRange64(const FuseRequest& request);
  int64_t Copy(const FuseRequest& request, uint64_t most);
  bool ClearsSetid(const FuseRequest& request) const;
  // directory.cc
  int64_t Readdir(const FuseRequest& request);
  int64_t Readdirplus(const FuseRequest& request);
  int64_t List(const FuseRequest& request, bool plus);
  // mapping.cc
  int64_t Setupmapping(const FuseRequest& request);
  int64_t MapFile(uint64_t nodeid, const fuse_setupmapping_in& in);
  int64_t Removemapping(const FuseRequest& request);
  // make.cc
  struct Making;
  int TakeCaller(const FuseRequest& request, uint32_t umask, std::vector<gid_t> groups,
                 Caller* caller) const;
  int TakeMaking(const FuseRequest& request, uint32_t in_size, uint32_t umask, uint32_t names,
                 Making* making) const;
  int64_t PutLabel(const FuseRequest& request, const Making& making, mode_t type, int64_t result,
                   uint64_t nodeid, const uint64_t* fh);
  int64_t PutMade(const FuseRequest& request, const Making& making, mode_t type, int64_t result,
                  const fuse_entry_out& entry);
  int64_t Create(const FuseRequest& request);
  int64_t Tmpfile(const FuseRequest& request);
  int64_t Mkdir(const FuseRequest& request);
  int64_t Mknod(const FuseRequest& request);
  int64_t Symlink(const FuseRequest& request);
  // names.cc
  int64_t Unlink(const FuseRequest& request);
  int64_t Rmdir(const FuseRequest& request);
  int64_t Remove(const FuseRequest& request, int flags);
  int64_t Rename(const FuseRequest& request);
  int64_t Rename2(const FuseRequest& request);
  int64_t RenameTo(const FuseRequest& request, uint32_t names, uint64_t new_parent, uint32_t flags);
  // setattr.cc
  int64_t Setattr(const FuseRequest& request);
  // release.cc
  int64_t Release(const FuseRequest& request);
  int64_t Releasedir(const FuseRequest& request);

  SharedDirectory& directory_;
  FuseCounters* counters_ = nullptr;
  RequestPool* pool_ = nullptr;

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
  // The stop of the queue is.
  bool interrupted_ = false;
  // See Answer.
  uint64_t moved_ = 0;
  std::optional<PendingRead> pending_read_;
  // Closes after the reply.
  ReleasedHandle released_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_DATA_PLANE_H_
