// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/user_namespace.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "sandbox/launcher/failure.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

void WriteFile(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    FailUnavailable(path);
}

void RunMapper(const char* program, pid_t child, const std::vector<IdRange>& map) {
  std::vector<std::string> words = {program, std::to_string(child)};
  for (const IdRange& range : map) {
    words.push_back(std::to_string(range.inside));
    words.push_back(std::to_string(range.outside));
    words.push_back(std::to_string(range.count));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t mapper = fork();
  if (mapper < 0) FailErrno("fork");
  if (mapper == 0) {
    execvp(program, arguments.data());
    FailErrno(std::string(program) + " (package uidmap) can't be started");
  }
  int status = 0;
  while (waitpid(mapper, &status, 0) < 0) {
    if (errno != EINTR) FailErrno("waitpid");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) Fail(std::string(program) + " has failed");
}

bool IsOwnId(const std::vector<IdRange>& map, uint32_t own) {
  return map.size() == 1 && map[0].outside == own && map[0].count == 1;
}

void WriteMap(const std::string& path, const IdRange& range) {
  WriteFile(path, std::to_string(range.inside) + " " + std::to_string(range.outside) + " 1\n");
}

}  // namespace

void MapIds(pid_t child, const Plan& plan) {
  const std::string process = "/proc/" + std::to_string(child);
  const std::vector<IdRange> own_uid = {{geteuid(), geteuid(), 1}};
  const std::vector<IdRange> own_gid = {{getegid(), getegid(), 1}};
  const std::vector<IdRange>& uids = plan.uid_map.empty() ? own_uid : plan.uid_map;
  const std::vector<IdRange>& gids = plan.gid_map.empty() ? own_gid : plan.gid_map;
  if (IsOwnId(uids, geteuid())) {
    WriteMap(process + "/uid_map", uids[0]);
  } else {
    RunMapper("newuidmap", child, uids);
  }
  if (IsOwnId(gids, getegid())) {
    // The kernel's condition for a map without privileges: nobody drops a group that denies access.
    WriteFile(process + "/setgroups", "deny");
    WriteMap(process + "/gid_map", gids[0]);
  } else {
    RunMapper("newgidmap", child, gids);
  }
}

}  // namespace viewfsd
