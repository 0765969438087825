// SPDX-License-Identifier: Apache-2.0
#include "sandbox/thread_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "util/unique_fd.h"

namespace viewfsd {

namespace {

std::optional<std::string> ReadAt(int directory, const std::string& name) {
  const UniqueFd fd(openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd.get(), buffer, sizeof(buffer))) > 0)
    text.append(buffer, static_cast<size_t>(got));
  if (got < 0) return std::nullopt;
  return text;
}

// The value of `Name:\t...`, in `base`; UINT64_MAX where it is missing, which no check takes for
// good.
uint64_t Field(std::string_view status, const std::string& name, int base) {
  const std::string start = "\n" + name + ":\t";
  const size_t at = status.find(start);
  if (at == std::string_view::npos) return UINT64_MAX;
  const std::string_view rest = status.substr(at + start.size());
  uint64_t value = UINT64_MAX;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value, base);
  return error == std::errc() ? value : UINT64_MAX;
}

std::string CheckStatus(std::string_view status, const ThreadExpectation& expected) {
  if (expected.filtered && Field(status, "Seccomp", 10) != SECCOMP_MODE_FILTER)
    return "has no seccomp filter";
  // (Linux 5.9 and newer.)
  const uint64_t filters = Field(status, "Seccomp_filters", 10);
  if (filters != UINT64_MAX && filters < expected.filters) return "lacks a seccomp filter";
  if (expected.no_new_privileges && Field(status, "NoNewPrivs", 10) != 1)
    return "lacks no_new_privs";
  for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb"}) {
    if ((Field(status, set, 16) & ~expected.capabilities) != 0)
      return std::string("has more capabilities than it may: ") + set;
  }
  if (expected.bounded && (Field(status, "CapBnd", 16) & ~expected.capabilities) != 0)
    return "has more capabilities than it may: CapBnd";
  return "";
}

std::string CheckDirectory(int tasks, const std::string& name) {
  char target[64];
  const ssize_t length = readlinkat(tasks, name.c_str(), target, sizeof(target));
  if (length < 0) return errno == ENOENT || errno == ESRCH ? "" : "can't be looked at: " + name;
  return std::string_view(target, static_cast<size_t>(length)) == "/" ? ""
                                                                      : "is elsewhere: " + name;
}

std::string CheckThread(int tasks, const std::string& id, const ThreadExpectation& expected) {
  const std::optional<std::string> status = ReadAt(tasks, id + "/status");
  // It has ended.
  if (!status) return "";
  std::string wrong = CheckStatus(*status, expected);
  if (wrong.empty() && expected.at_root) wrong = CheckDirectory(tasks, id + "/root");
  if (wrong.empty() && expected.at_root) wrong = CheckDirectory(tasks, id + "/cwd");
  return wrong.empty() ? "" : "thread " + id + " " + wrong;
}

}  // namespace

std::string CheckThreads(int tasks, const ThreadExpectation& expected) {
  const int copy = fcntl(tasks, F_DUPFD_CLOEXEC, 0);
  DIR* directory = copy < 0 ? nullptr : fdopendir(copy);
  if (directory == nullptr) return "the list of threads can't be read";
  rewinddir(directory);
  std::string wrong;
  size_t threads = 0;
  while (wrong.empty()) {
    errno = 0;
    const dirent* entry = readdir(directory);
    if (entry == nullptr) {
      if (errno != 0) wrong = "the list of threads can't be read";
      break;
    }
    if (entry->d_name[0] == '.') continue;
    threads++;
    wrong = CheckThread(tasks, entry->d_name, expected);
  }
  closedir(directory);
  return threads == 0 && wrong.empty() ? "the list of threads is empty" : wrong;
}

}  // namespace viewfsd
