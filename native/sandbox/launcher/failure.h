// SPDX-License-Identifier: Apache-2.0
// The launcher's way to give up: one line on standard error and exit status 1.
#ifndef VIEWFSD_LAUNCHER_FAILURE_H_
#define VIEWFSD_LAUNCHER_FAILURE_H_

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace viewfsd {

// What the process before this one has made and whoever is in the sandbox can't reach.
inline std::vector<std::string>& FilesToRemove() {
  static std::vector<std::string> paths;
  return paths;
}

inline void RemoveFiles() {
  for (const std::string& path : FilesToRemove()) unlink(path.c_str());
}

[[noreturn]] inline void Fail(const std::string& message) {
  RemoveFiles();
  fprintf(stderr, "viewfsd: sandbox: %s\n", message.c_str());
  _exit(1);
}

// With errno's meaning behind it.
[[noreturn]] inline void FailErrno(const std::string& what, int error = errno) {
  Fail(what + ": " + strerror(error));
}

// For what machines, containers and chroots may not permit.
[[noreturn]] inline void FailUnavailable(const std::string& what, int error = errno) {
  FailErrno(
      "--sandbox=namespace can't be had here (--sandbox=none can, and for root chroot): " + what,
      error);
}

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_FAILURE_H_
