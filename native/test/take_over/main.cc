// SPDX-License-Identifier: Apache-2.0
// Leads a process that serves a shared directory through its operations one instruction at a time.
// At each instant at which its tables have changed, another process takes over a copy of them, as
// if the first one had been killed there, and says what it finds.
//
//   take_over DIRECTORY prefer|never forgets|remembers      DIRECTORY: an empty one
//
// Prints for each operation its name, its instructions, the instants that were looked at, and the
// different findings in the order in which they came, separated by tabs; and then so what a
// successor has to refuse.
//
// Descriptors are kept as a keeper would: this process shares its table with the one that serves.
// Of them a successor keeps those alone that a record names.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/check.h"
#include "session/present_request.h"
#include "session/server_state.h"
#include "test/take_over/guest.h"

namespace viewfsd::take_over {
namespace {

constexpr size_t kPage = 4096;

// What all processes share besides descriptors.
struct Shared {
  Guest guest;
  // The tables' memory object, and the state that goes with them.
  int tables;
  int state;
  // Requests that were served.
  uint32_t turns;
};

// What is in a memory object.
class Snapshot {
 public:
  explicit Snapshot(int file) {
    struct stat status;
    FUZZ_CHECK(fstat(file, &status) == 0);
    size_ = status.st_size;
    off_t hole = 0;
    for (off_t data; (data = lseek(file, hole, SEEK_DATA)) >= 0;) {
      hole = lseek(file, data, SEEK_HOLE);
      std::string& bytes = parts_[data];
      bytes.resize(static_cast<size_t>(hole - data));
      FUZZ_CHECK(pread(file, bytes.data(), bytes.size(), data) ==
                 static_cast<ssize_t>(bytes.size()));
    }
  }
  bool operator==(const Snapshot&) const = default;

  UniqueFd Copy() const {
    UniqueFd copy(memfd_create("copy", MFD_CLOEXEC));
    FUZZ_CHECK(copy.valid() && ftruncate(copy.get(), size_) == 0);
    for (const auto& [offset, bytes] : parts_)
      FUZZ_CHECK(pwrite(copy.get(), bytes.data(), bytes.size(), offset) ==
                 static_cast<ssize_t>(bytes.size()));
    return copy;
  }

 private:
  off_t size_ = 0;
  std::map<off_t, std::string> parts_;
};

std::set<int> OpenDescriptors() {
  std::set<int> open;
  // More than this program ever has.
  for (int fd = 0; fd < 256; fd++)
    if (fcntl(fd, F_GETFD) >= 0) open.insert(fd);
  return open;
}

class Test {
 public:
  Test(const char* path, HandleUse use, bool remembers) : use_(use), remembers_(remembers) {
    root_.reset(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    FUZZ_CHECK(root_.valid());
    Populate(root_.get());
    void* shared =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(shared != MAP_FAILED);
    shared_ = static_cast<Shared*>(shared);
  }

  void Run() {
    // The tables of this first one are those that all others take over.
    const pid_t first = Fork(CLONE_FILES);
    if (first == 0) {
      const SharedDirectory* directory = Open(root_.get(), use_, remembers_, -1).release();
      FUZZ_CHECK(directory != nullptr);
      shared_->tables = directory->tables();
      shared_->state = memfd_create("state", 0);
      _exit(0);
    }
    FUZZ_CHECK(Ended(first));
    for (const Operation& operation : Operations()) Trace(operation);
    // With nothing that a successor could do with them, and nothing changed.
    Refuse("newer", "", [](int copy) {
      const uint32_t version = DirectoryRecord::kVersion + 1;
      FUZZ_CHECK(pwrite(copy, &version, sizeof(version), offsetof(DirectoryRecord, version)) > 0);
    });
    Refuse("other-limits", "", [](int copy) {
      const size_t inodes = 7;
      FUZZ_CHECK(pwrite(copy, &inodes, sizeof(inodes), offsetof(DirectoryRecord, limits)) > 0);
    });
    Refuse("other-size", "", [](int copy) { FUZZ_CHECK(ftruncate(copy, kPage) == 0); });
    Refuse("other-directory", "d", [](int) {});
  }

 private:
  static pid_t Fork(unsigned long flags) {
    const auto child =
        static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    FUZZ_CHECK(child >= 0);
    return child;
  }

  static bool Ended(pid_t child) {
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
  }

  // By number of the ring's first head.
  static JournalEntry& Entry() { return ServerState::Journal(0)->entries[0]; }

  // As RequestServer does: see virtio/queue_journal.h.
  void TakeRequest(bool unanswered) {
    const uint32_t turn = ++shared_->turns;
    Entry().turn.store(turn);
    Entry().state.store(unanswered ? JournalEntry::kTaken : JournalEntry::kAnswered);
    SetPresentRequest(RequestNumber(0, 0, turn));
  }

  // The process that serves.
  [[noreturn]] void Serve(const Operation& operation) {
    FUZZ_CHECK(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0);
    FUZZ_CHECK(ServerState::Open(shared_->state, 1) == 0);
    if (operation.run == nullptr) raise(SIGSTOP);
    // Never ended: that would empty the tables.
    SharedDirectory* directory =
        take_over::Open(root_.get(), use_, remembers_, shared_->tables).release();
    FUZZ_CHECK(directory != nullptr);
    const Served served = {*directory, root_.get(), shared_->guest};
    if (operation.run != nullptr) {
      operation.prepare(served);
      TakeRequest(operation.unanswered);
      raise(SIGSTOP);
      const Guest before = shared_->guest;
      operation.run(served);
      // The guest has not been told.
      if (operation.unanswered) shared_->guest = before;
    }
    raise(SIGSTOP);
    _exit(0);
  }

  // What a successor finds that takes over the tables as they are in `snapshot`.
  std::string Find(const Snapshot& snapshot) const {
    int ends[2];
    FUZZ_CHECK(pipe2(ends, O_CLOEXEC) == 0);
    UniqueFd reads(ends[0]);
    UniqueFd writes(ends[1]);
    const UniqueFd copy = snapshot.Copy();
    // With a table of descriptors of its own, so that it may close them.
    const pid_t child = Fork(0);
    if (child == 0) {
      FUZZ_CHECK(ServerState::Open(shared_->state, 1) == 0);
      std::string found = "not taken over";
      std::set<int> nobodys = OpenDescriptors();
      for (const int fd : {0, 1, 2, root_.get(), writes.get(), shared_->state}) nobodys.erase(fd);
      SharedDirectory* directory =
          take_over::Open(root_.get(), use_, remembers_, copy.get()).release();
      if (directory != nullptr) {
        const auto named = [&nobodys](int fd) { nobodys.erase(fd); };
        directory->inodes().ForEachDescriptor(named);
        directory->handles().ForEachDescriptor(named);
        directory->locks().ForEachDescriptor(named);
        for (const int fd : nobodys) close(fd);
        found = Observe({*directory, root_.get(), shared_->guest});
      }
      FUZZ_CHECK(write(writes.get(), found.data(), found.size()) ==
                 static_cast<ssize_t>(found.size()));
      _exit(0);
    }
    writes.reset();
    std::string found;
    char part[kPage];
    for (ssize_t got; (got = read(reads.get(), part, sizeof(part))) > 0;)
      found.append(part, static_cast<size_t>(got));
    return Ended(child) ? found : "died";
  }

  // Prints whether tables with this change, or of another directory than `name` below the root, are
  // refused and stay as they are.
  void Refuse(const char* what, const char* name, void (*change)(int copy)) const {
    const UniqueFd copy = Snapshot(shared_->tables).Copy();
    change(copy.get());
    const Snapshot before(copy.get());
    const UniqueFd directory(openat(root_.get(), *name == '\0' ? "." : name, O_RDONLY | O_CLOEXEC));
    const pid_t child = Fork(0);
    if (child == 0) {
      const bool refused =
          take_over::Open(directory.get(), use_, remembers_, copy.get()) == nullptr;
      _exit(refused && Snapshot(copy.get()) == before ? 0 : 1);
    }
    printf("%s\t0\t0\t%s\n", what, Ended(child) ? "refused" : "taken");
  }

  static int WaitForStop(pid_t child) {
    int status;
    FUZZ_CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    return WSTOPSIG(status);
  }

  void Trace(const Operation& operation) {
    const pid_t child = Fork(CLONE_FILES);
    if (child == 0) Serve(operation);
    FUZZ_CHECK(WaitForStop(child) == SIGSTOP);
    Snapshot last(shared_->tables);
    std::vector<std::string> findings = {Find(last)};
    uint64_t instructions = 0;
    uint64_t instants = 1;
    for (;; instructions++) {
      FUZZ_CHECK(ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0);
      const int signal = WaitForStop(child);
      if (signal == SIGSTOP) break;
      FUZZ_CHECK(signal == SIGTRAP);
      Snapshot now(shared_->tables);
      if (now == last) continue;
      last = std::move(now);
      instants++;
      std::string found = Find(last);
      if (found != findings.back()) findings.push_back(std::move(found));
    }
    // With what it has closed and opened since.
    if (std::string found = Find(last); found != findings.back())
      findings.push_back(std::move(found));
    FUZZ_CHECK(ptrace(PTRACE_CONT, child, nullptr, nullptr) == 0);
    FUZZ_CHECK(Ended(child));
    printf("%s\t%lu\t%lu", operation.name, instructions, instants);
    for (const std::string& found : findings) printf("\t%s", found.c_str());
    printf("\n");
    fflush(stdout);
  }

  const HandleUse use_;
  const bool remembers_;
  UniqueFd root_;
  Shared* shared_;
};

}  // namespace
}  // namespace viewfsd::take_over

int main(int argc, char** argv) {
  FUZZ_CHECK(argc == 4);
  const auto use =
      strcmp(argv[2], "never") == 0 ? viewfsd::HandleUse::kNever : viewfsd::HandleUse::kPrefer;
  viewfsd::take_over::Test(argv[1], use, strcmp(argv[3], "remembers") == 0).Run();
}
