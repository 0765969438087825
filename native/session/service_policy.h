// SPDX-License-Identifier: Apache-2.0
// What the control plane has decided for a session and the data plane goes by. It is published
// whole when FUSE_INIT is answered, and withdrawn when the session ends: then every request is
// asked about.
#ifndef VIEWFSD_FUSE_SERVICE_POLICY_H_
#define VIEWFSD_FUSE_SERVICE_POLICY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "session/guest_session.h"

namespace viewfsd {

// Who serves requests of an opcode.
enum class Service : uint8_t {
  // The control plane, in JavaScript.
  kAsk = 0,
  // The data plane, on the queue's thread.
  kNative = 1,
  // The data plane, on a thread of the pool: it waits for the host by its nature.
  kPool = 2,
};

// What an open that has succeeded says about what the guest has cached of the file or directory.
// Values index OpenPolicy::flags.
enum class Freshness {
  // It must go.
  kChanged,
  // It may stay.
  kUnchanged,
  // The file's size says nothing about its contents, as in procfs.
  kUnsized,
};

// How OPEN, OPENDIR and what else opens a file (CREATE, TMPFILE) treat the guest's flags, and what
// they tell the guest.
struct OpenPolicy {
  // Who would open a file for writing, or truncate it, gets EROFS.
  bool read_only = false;
  // O_* of the guest that reach the host; the access mode always does.
  uint32_t passed = UINT32_MAX;
  // The guest reads also what it has opened for writing alone: O_WRONLY becomes O_RDWR.
  bool reads_always = false;
  // Where the file's mode forbids that, it is opened for writing alone all the same.
  bool may_write_only = false;
  // An open that finds another file than the guest was told gets ESTALE once, so that it asks for
  // the attributes.
  bool asks_again = false;
  // FOPEN_* of a file and of a directory, by freshness, and of a file besides where nothing would
  // come of a FLUSH.
  std::array<uint32_t, 3> file_flags = {};
  std::array<uint32_t, 2> directory_flags = {};
  uint32_t unflushed_flags = 0;

  bool judges_files() const {
    return asks_again || file_flags[0] != file_flags[1] || file_flags[0] != file_flags[2];
  }
  bool judges_directories() const { return directory_flags[0] != directory_flags[1]; }
};

struct WindowPolicy {
  // Bytes; 0: the device has none, and the guest gets ENOSYS.
  uint64_t size = 0;
  // The window is where the guest will look for it. Without that a mapping would read as zeros.
  bool shown = false;
};

struct ServicePolicy {
  static constexpr size_t kOpcodes = 64;

  // By opcode; those beyond are asked about.
  std::array<Service, kOpcodes> services = {};
  // The guest has a write-back cache: it alone knows where files end.
  bool writeback_cache = false;
  // It asks for POSIX locks, which are dropped with FLUSH.
  bool posix_locks = false;
  // It leaves setuid and setgid to the server: HANDLE_KILLPRIV_V2.
  bool handles_killpriv = false;
  // Requests may have extensions (FUSE 7.38), and what is made gets the label that comes with it
  // (SECURITY_CTX).
  bool extensions = false;
  bool labels = false;
  // The guest leaves the umask to the host: DONT_MASK.
  bool applies_umask = false;
  // The guest knows an entry without nodeid for a name that does not exist, and keeps it.
  bool negative_entries = false;
  OpenPolicy open;
  WindowPolicy window;

  Service ServiceOf(uint32_t opcode) const {
    return opcode < kOpcodes ? services[opcode] : Service::kAsk;
  }
};

// The policy that is in force, for the threads of all queues.
class PolicyBoard {
 public:
  // Does nothing where another session has begun since the calling thread's request was taken:
  // that one has its own, or none.
  void Publish(const ServicePolicy& policy) { Replace(policy, false); }
  void Withdraw() { Replace(ServicePolicy{}, true); }

  // Is told of each policy before it is in force, and whether a session has it. Before the first
  // one.
  void set_record(std::function<void(const ServicePolicy&, bool)> record) {
    record_ = std::move(record);
  }

  // Changes with every policy; cheap to poll. Read it before `Get`: a policy that is newer than its
  // number is only fetched once more than needed.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  std::shared_ptr<const ServicePolicy> Get() const {
    const std::lock_guard lock(mutex_);
    return policy_;
  }

 private:
  void Replace(const ServicePolicy& policy, bool always) {
    auto next = std::make_shared<const ServicePolicy>(policy);
    const std::lock_guard lock(mutex_);
    if (!always && !InPresentSession()) return;
    if (record_) record_(policy, !always);
    policy_ = std::move(next);
    generation_.fetch_add(1, std::memory_order_release);
  }

  mutable std::mutex mutex_;
  std::function<void(const ServicePolicy&, bool)> record_;
  std::shared_ptr<const ServicePolicy> policy_ = std::make_shared<const ServicePolicy>();
  std::atomic<uint64_t> generation_{1};
};

}  // namespace viewfsd

#endif  // VIEWFSD_FUSE_SERVICE_POLICY_H_
