// SPDX-License-Identifier: Apache-2.0
// The daemon's part of its sandbox; declared in native/sandbox.ts. The launcher's part is in
// launcher/.
#include "binding/sandbox.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "binding/arguments.h"
#include "binding/errno_error.h"
#include "host/proc_fds.h"
#include "sandbox/seccomp_filter.h"
#include "sandbox/thread_state.h"
#include "util/unique_fd.h"

namespace viewfsd {

namespace {

std::vector<std::string> Strings(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsArray())
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be an array");
  const Napi::Array array = info[index].As<Napi::Array>();
  std::vector<std::string> strings;
  for (uint32_t i = 0; i < array.Length(); i++)
    strings.push_back(array.Get(i).ToString().Utf8Value());
  return strings;
}

std::vector<char*> Pointers(std::vector<std::string>* strings) {
  std::vector<char*> pointers;
  for (std::string& text : *strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// executeProgram(argv, environment, descriptors)
void ExecuteProgram(const Napi::CallbackInfo& info) {
  std::vector<std::string> arguments = Strings(info, 0, "argv");
  std::vector<std::string> environment = Strings(info, 1, "environment");
  if (arguments.empty()) throw Napi::RangeError::New(info.Env(), "argv must not be empty");
  if (!info[2].IsArray()) throw Napi::TypeError::New(info.Env(), "descriptors must be an array");
  const Napi::Array descriptors = info[2].As<Napi::Array>();
  // Whatever else whoever started us has left open is nobody's business in there.
  if (close_range(0, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
    throw ErrnoError(info.Env(), errno, "close_range");
  for (uint32_t i = 0; i < descriptors.Length(); i++) {
    const int fd = descriptors.Get(i).ToNumber().Int32Value();
    // A standard descriptor that was closed from the beginning stays so.
    if (fcntl(fd, F_SETFD, 0) != 0 && fd > STDERR_FILENO)
      throw ErrnoError(info.Env(), errno, "fcntl");
  }
  execve(arguments[0].c_str(), Pointers(&arguments).data(), Pointers(&environment).data());
  throw ErrnoError(info.Env(), errno, "execve", arguments[0]);
}

void UseProcFds(const Napi::CallbackInfo& info) { SetProcFds(FdArgument(info, 0)); }

// Asks the launcher to change the root directory, and sees that it has happened.
void ChangeRoot(Napi::Env env, int control, int root) {
  if (chdir("/") != 0) throw ErrnoError(env, errno, "chdir", "/");
  char byte = 'c';  // launcher/descriptors.h: kCloseDoors
  ssize_t moved;
  do moved = send(control, &byte, 1, MSG_NOSIGNAL);
  while (moved < 0 && errno == EINTR);
  if (moved != 1) throw ErrnoError(env, errno, "send");
  do moved = recv(control, &byte, 1, 0);
  while (moved < 0 && errno == EINTR);
  if (moved != 1) throw ErrnoError(env, moved < 0 ? errno : ECONNRESET, "recv");
  if (byte != 0) throw ErrnoError(env, static_cast<unsigned char>(byte), "pivot_root");
  if (chdir("/") != 0) throw ErrnoError(env, errno, "chdir", "/");

  struct statx now;
  struct statx wanted;
  const unsigned mask = STATX_INO | STATX_MNT_ID;
  if (statx(AT_FDCWD, "/", AT_SYMLINK_NOFOLLOW, mask, &now) != 0 ||
      statx(root, "", AT_EMPTY_PATH, mask, &wanted) != 0)
    throw ErrnoError(env, errno, "statx");
  if (now.stx_ino != wanted.stx_ino || now.stx_dev_major != wanted.stx_dev_major ||
      now.stx_dev_minor != wanted.stx_dev_minor || now.stx_mnt_id != wanted.stx_mnt_id)
    throw Napi::Error::New(env, "the root directory has not become the shared directory");
}

// In the user namespace that the launcher has made; until now this process was who started it, and
// could read and make files as that user. glibc's functions change all threads.
void BecomeNamespaceRoot(Napi::Env env) {
  // EINVAL: the namespace has no such id. Then the user's own has to do.
  if (setresgid(0, 0, 0) != 0 && errno != EINVAL) throw ErrnoError(env, errno, "setresgid");
  if (setresuid(0, 0, 0) != 0 && errno != EINVAL) throw ErrnoError(env, errno, "setresuid");
  // A change of ids has undone it. Should the launcher have died, ChangeRoot gets no answer.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) throw ErrnoError(env, errno, "prctl");
}

// closeDoors(control, root, userNamespace, action, capabilities)
void CloseDoors(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const UniqueFd control(static_cast<int>(IntegerArgument(info, 0, "control", -1, INT32_MAX)));
  const auto root = static_cast<int>(IntegerArgument(info, 1, "root", -1, INT32_MAX));
  const bool user_namespace = BooleanArgument(info, 2, "userNamespace");
  const std::string action = StringArgument(info, 3, "action");
  if (!info[4].IsBigInt()) throw Napi::TypeError::New(env, "capabilities must be a bigint");
  bool lossless = false;
  const uint64_t capabilities = info[4].As<Napi::BigInt>().Uint64Value(&lossless);

  const UniqueFd tasks(open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!tasks) throw ErrnoError(env, errno, "open", "/proc/self/task");
  // Not to be opened later.
  if (const int result = ProcFds(); result < 0)
    throw ErrnoError(env, -result, "open", "/proc/self/fd");
  if (user_namespace) BecomeNamespaceRoot(env);
  if (control) ChangeRoot(env, control.get(), root);

  ThreadExpectation expected;
  expected.no_new_privileges = true;
  expected.capabilities = capabilities;
  // Who had no capabilities could not bound them.
  expected.bounded = control.valid() || geteuid() == 0;
  expected.at_root = control.valid();
  expected.filtered = action != "none";
  if (expected.filtered) {
    SeccompAction chosen;
    if (action == "kill") {
      chosen = SeccompAction::kKill;
    } else if (action == "log") {
      chosen = SeccompAction::kLog;
    } else if (action == "trap") {
      chosen = SeccompAction::kTrap;
    } else {
      throw Napi::RangeError::New(env, "action must be none, kill, log or trap");
    }
    const int result = InstallSeccompFilter(chosen);
    if (result < 0) throw ErrnoError(env, -result, "seccomp");
    expected.filters = 2;
    if (result > 0)
      throw Napi::Error::New(env, "thread " + std::to_string(result) + " refuses the filter");
  }
  const std::string wrong = CheckThreads(tasks.get(), expected);
  if (!wrong.empty()) throw Napi::Error::New(env, wrong);
}

}  // namespace

void InitSandbox(Napi::Env env, Napi::Object exports) {
  Napi::Object sandbox = Napi::Object::New(env);
  sandbox.Set("executeProgram", Napi::Function::New(env, ExecuteProgram, "executeProgram"));
  sandbox.Set("useProcFds", Napi::Function::New(env, UseProcFds, "useProcFds"));
  sandbox.Set("closeDoors", Napi::Function::New(env, CloseDoors, "closeDoors"));
  exports.Set("sandbox", sandbox);
}

}  // namespace viewfsd
