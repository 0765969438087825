// SPDX-License-Identifier: Apache-2.0
// What the launcher is to do, as its command line says (made by server/sandbox/launch.ts alone).
#ifndef VIEWFSD_LAUNCHER_PLAN_H_
#define VIEWFSD_LAUNCHER_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

namespace viewfsd {

enum class SandboxKind { kNone, kChroot, kNamespace };

// `count` ids from `outside` on are seen as `inside` and the following in the user namespace.
struct IdRange {
  uint32_t inside = 0;
  uint32_t outside = 0;
  uint32_t count = 0;
};

struct Plan {
  SandboxKind kind = SandboxKind::kNone;
  // Bit n: capability n may be kept.
  uint64_t capabilities = 0;
  // The program will filter its system calls.
  bool filtered = false;
  // A server that a signal has ended is followed by another one.
  bool restarts = false;
  // The servers may make a memory view.
  bool view = false;
  // Absolute.
  std::string shared_directory;
  // Nothing in it may be changed: of kNamespace alone, the others have no mount of their own.
  bool read_only = false;
  // Empty: the caller's own id alone, which is the same inside.
  std::vector<IdRange> uid_map;
  std::vector<IdRange> gid_map;
  // Removed when the program has ended: it can't reach them any more.
  std::vector<std::string> cleanup;
  // The program and its arguments; argv of execve, so with a null pointer at its end.
  char** program = nullptr;
};

// Ends the process where the arguments are wrong.
Plan ParsePlan(int argc, char** argv);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_PLAN_H_
