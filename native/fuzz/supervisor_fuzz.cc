// SPDX-License-Identifier: Apache-2.0
// A server that a guest has taken over, against those that outlive it: the first process's
// decisions (sandbox/launcher/succession.h), its own keeper, and its successor, which asks a keeper
// for descriptors (sandbox/keeper.h). The input is a script of what servers say, pass along and
// close, of how they end, and of the time between. Checked by a model of it: at most one server and
// one probe at a time, and no signal to anybody else; who is started next is told the right past,
// and gets the channel to the right predecessor; all ends when it should and not otherwise; a
// keeper hands out what was asked for and nothing else; a successor loses no descriptor of its own;
// none stays open.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "fuzz/check.h"
#include "fuzz/script.h"
#include "sandbox/keeper.h"
#include "sandbox/launcher/descriptors.h"
#include "sandbox/launcher/succession.h"
#include "util/fd_message.h"

namespace viewfsd::fuzz {
namespace {

constexpr int kMaxMessages = 16;
constexpr time_t kBegin = 1000;

ino_t FileOf(int fd) {
  struct stat status;
  FUZZ_CHECK(fstat(fd, &status) == 0);
  return status.st_ino;
}

bool Readable(int fd) {
  pollfd event = {fd, POLLIN, 0};
  return poll(&event, 1, 0) == 1;
}

UniqueFd Duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  FUZZ_CHECK(copy.valid());
  return copy;
}

size_t CountDescriptors() {
  DIR* const directory = opendir("/proc/self/fd");
  FUZZ_CHECK(directory != nullptr);
  size_t count = 0;
  while (readdir(directory) != nullptr) count++;
  closedir(directory);
  return count;
}

// Some bytes, some descriptors beside them. Returns the first byte, -1 where there is none, or
// nothing where nobody hears it any more.
std::optional<int> SendSome(Script& script, int socket, const std::vector<uint8_t>& likely) {
  std::vector<uint8_t> bytes(script.Pick(8) == 0 ? script.Pick(200) : 1);
  for (uint8_t& byte : bytes)
    byte = script.Pick(4) == 0 ? script.Byte() : likely[script.Pick(likely.size())];
  std::vector<int> fds(script.Pick(4) == 0 ? script.Pick(5) : 0, STDERR_FILENO);
  // The kernel sends no descriptors with nothing.
  iovec parts[] = {{bytes.data(), bytes.size()}};
  const ssize_t sent = SendMessage(socket, parts, fds);
  if (sent < 0) return std::nullopt;
  return bytes.empty() ? -1 : bytes[0];
}

// A server as the model has it, and its ends of the channels.
struct Server {
  UniqueFd keeper;
  UniqueFd prepared;
  // What has been said and not been heard: first bytes, -1 for an empty message.
  std::deque<int> words;
  std::deque<int> of_prepared;
  bool keeper_heard = true;
  bool serves = false;
};

class Scene : public Processes {
 public:
  explicit Scene(Script& script)
      : script_(script), sandboxed_(script.Pick(2) == 0), succession_(this, sandboxed_) {}

  void Play() {
    succession_.Start();
    while (!ended_ && !script_.done()) Step();
  }

  pid_t StartServer(const ServerStart& start) override {
    FUZZ_CHECK(!ended_ && !serving_);
    FUZZ_CHECK(start.past.crashes == Crashes());
    FUZZ_CHECK(start.past.refuses == (Crashes() >= 10));
    FUZZ_CHECK(start.past.signal == signal_);
    FUZZ_CHECK(!start.past.upgrade || signal_ == SIGKILL);
    FUZZ_CHECK(start.past.servers == static_cast<int>(servers_.size()));
    FUZZ_CHECK(start.past.age == now_ - kBegin);
    FUZZ_CHECK((start.share >= 0) == shared_);
    FUZZ_CHECK((start.predecessor >= 0) == (predecessor_ >= 0));
    if (start.predecessor >= 0) CheckPredecessor(start.predecessor);
    const pid_t pid = next_++;
    Server& server = servers_[pid];
    server.keeper = Duplicate(start.keeper);
    server.prepared = Duplicate(start.prepared);
    serving_ = pid;
    return pid;
  }

  pid_t StartProbe() override {
    FUZZ_CHECK(!ended_ && !probe_ && serving_ && servers_[*serving_].serves);
    probe_ = next_++;
    return *probe_;
  }

  void Kill(pid_t process, int) override { FUZZ_CHECK(!ended_ && serving_ == process); }
  time_t Now() override { return now_; }

  void Ready() override {
    FUZZ_CHECK(!ready_);
    ready_ = true;
  }

  void Refused() override {}

  void End(int) override {
    FUZZ_CHECK(!ended_ && may_end_);
    ended_ = true;
  }

 private:
  // Of the last server that counts: nobody but it hears what is said into the channel.
  void CheckPredecessor(int channel) {
    static uint32_t token = 0;
    token++;
    const ssize_t sent = send(channel, &token, sizeof(token), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (!servers_[predecessor_].keeper) {
      // It has closed its end, and its successor sees that.
      FUZZ_CHECK(sent < 0);
      return;
    }
    FUZZ_CHECK(sent == sizeof(token));
    uint32_t heard = 0;
    FUZZ_CHECK(recv(servers_[predecessor_].keeper.get(), &heard, sizeof(heard), MSG_DONTWAIT) ==
               sizeof(heard));
    FUZZ_CHECK(heard == token);
  }

  int Crashes() { return static_cast<int>(crashes_.size()); }

  void Step() {
    switch (script_.Pick(10)) {
      case 0:
      case 1:
        return Speak();
      case 2:
        return Prepare();
      case 3:
        return Close();
      case 4:
      case 5:
        return EndServer();
      case 6:
        return EndProbe();
      case 7:
        now_ += script_.Pick(80);
        return;
      case 8:
        return PassOn();
      default:
        if (succession_.late()) {
          succession_.Start();
        } else if (script_.Pick(2) == 0) {
          succession_.Probe();
        } else {
          // Somebody's: a keeper, who has closed the doors.
          succession_.Ended(next_ + script_.Pick(3), static_cast<int>(script_.Byte()));
        }
    }
  }

  void Speak() {
    if (!serving_) return;
    Server& server = servers_[*serving_];
    if (server.keeper && server.words.size() < kMaxMessages)
      if (const auto word = SendSome(script_, server.keeper.get(), {kTaken, kUpgrade, kTaken}))
        server.words.push_back(*word);
    if (script_.Pick(2) == 0) HearServer(server);
  }

  // As the first process does when there is something to be heard.
  void HearServer(Server& server) {
    if (succession_.keeper() < 0 || !Readable(succession_.keeper())) return;
    Understand(server);
    succession_.HearServer();
  }

  void Understand(Server& server) {
    const int word = server.words.empty() ? -1 : server.words.front();
    if (!server.words.empty()) server.words.pop_front();
    if (word == kTaken) {
      server.serves = served_ = true;
      predecessor_ = -1;
    } else if (word != kUpgrade) {
      server.keeper_heard = false;
    }
  }

  void Prepare() {
    if (!serving_) return;
    Server& server = servers_[*serving_];
    if (server.prepared && server.of_prepared.size() < kMaxMessages) {
      // With a descriptor, always, as it comes from who prepares the sandbox.
      const uint8_t byte = script_.Pick(3) == 0 ? kCloseDoors : kPrepared;
      iovec parts[] = {{const_cast<uint8_t*>(&byte), 1}};
      const int fd = STDERR_FILENO;
      const bool along = byte == kPrepared && script_.Pick(4) != 0;
      if (SendMessage(server.prepared.get(), parts, {&fd, size_t{along}}) == 1)
        server.of_prepared.push_back(byte == kCloseDoors ? 0 : along ? 1 : 2);
    }
    if (succession_.prepared() < 0 || !Readable(succession_.prepared())) return;
    if (!server.of_prepared.empty()) {
      if (server.of_prepared.front() == 1) shared_ = true;
      server.of_prepared.pop_front();
    }
    succession_.HearPrepared();
  }

  void Close() {
    if (!serving_) return;
    Server& server = servers_[*serving_];
    (script_.Pick(2) == 0 ? server.keeper : server.prepared).reset();
    if (script_.Pick(2) == 0) HearServer(server);
  }

  void EndServer() {
    if (!serving_) return;
    const pid_t pid = *serving_;
    Server& server = servers_[pid];
    constexpr int kSignals[] = {SIGSEGV, SIGKILL, SIGABRT, SIGKILL, SIGSYS, SIGBUS};
    const int status =
        script_.Pick(8) == 0 ? script_.Byte() << 8 : kSignals[script_.Pick(std::size(kSignals))];
    // What it has said before its end counts.
    if (succession_.keeper() >= 0 && !server.serves && Readable(succession_.keeper()))
      Understand(server);
    serving_.reset();
    may_end_ = WIFEXITED(status) || ending_ || !served_;
    if (!may_end_) Remember(pid, server, status);
    succession_.Ended(pid, status);
    FUZZ_CHECK(ended_ == may_end_);
    if (!ended_) FUZZ_CHECK(serving_.has_value() == (Crashes() < 10));
    may_end_ = false;
  }

  void Remember(pid_t pid, const Server& server, int status) {
    signal_ = WTERMSIG(status);
    std::erase_if(crashes_, [this](time_t then) { return now_ - then >= 60; });
    if (signal_ != SIGKILL) crashes_.push_back(now_);
    if (server.serves || predecessor_ < 0) predecessor_ = server.keeper_heard ? pid : -1;
  }

  void EndProbe() {
    if (!probe_) return;
    const pid_t pid = *probe_;
    probe_.reset();
    succession_.Ended(pid, script_.Pick(2) == 0 ? 0 : script_.Byte() << 8);
  }

  void PassOn() {
    // A daemon is not asked to end every now and then.
    const int signal = script_.Pick(8) == 0 ? SIGTERM : SIGUSR1;
    ending_ = ending_ || signal == SIGTERM;
    may_end_ = ending_ && !serving_;
    succession_.PassOn(signal);
    FUZZ_CHECK(ended_ == may_end_);
    may_end_ = false;
  }

  Script& script_;
  const bool sandboxed_;
  std::map<pid_t, Server> servers_;
  std::optional<pid_t> serving_;
  std::optional<pid_t> probe_;
  pid_t next_ = 100;
  // Whose keeper has what the next server needs; -1: nobody's.
  pid_t predecessor_ = -1;
  std::vector<time_t> crashes_;
  time_t now_ = kBegin;
  int signal_ = 0;
  bool shared_ = false;
  bool served_ = false;
  bool ready_ = false;
  bool ending_ = false;
  bool may_end_ = false;
  bool ended_ = false;
  Succession succession_;
};

// A successor that asks for anything.
void AskKeeper(Script& script) {
  ControlPair channel = MakeControlPair();
  for (int round = 0; round < 3; round++) {
    std::vector<int> numbers(script.Pick(80));
    for (int& number : numbers)
      number = script.Pick(4) == 0 ? script.Take<int32_t>() : static_cast<int>(script.Pick(20));
    std::vector<uint8_t> bytes(numbers.size() * sizeof(int) + script.Pick(4));
    if (bytes.empty()) continue;
    std::copy_n(reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size() * sizeof(int),
                bytes.begin());
    const std::vector<int> along(script.Pick(4) == 0 ? script.Pick(5) : 0, STDERR_FILENO);
    iovec parts[] = {{bytes.data(), bytes.size()}};
    FUZZ_CHECK(SendMessage(channel.program.get(), parts, along) > 0);
    FUZZ_CHECK(AnswerSuccessor(channel.launcher.get()));
    numbers.resize(std::min<size_t>(numbers.size(), 64));
    std::erase_if(numbers, [](int number) { return fcntl(number, F_GETFD) < 0; });
    int had[100];
    std::vector<UniqueFd> fds;
    const ssize_t received = ReceiveMessage(channel.program.get(), {had, sizeof(had)}, &fds);
    FUZZ_CHECK(fds.size() == numbers.size());
    FUZZ_CHECK(received == static_cast<ssize_t>(std::max<size_t>(fds.size(), 1) * sizeof(int)));
    for (size_t i = 0; i < fds.size(); i++) {
      FUZZ_CHECK(had[i] == numbers[i]);
      FUZZ_CHECK(FileOf(fds[i].get()) == FileOf(had[i]));
    }
  }
  channel.program.reset();
  FUZZ_CHECK(!AnswerSuccessor(channel.launcher.get()));
}

// Somebody who answers anything in a keeper's place.
void AskHostileKeeper(Script& script) {
  // Numbers that nobody else in this process has.
  constexpr int kFirst = 1000;
  constexpr int kOwn = kFirst + 10;
  constexpr int kLast = kFirst + 40;
  ControlPair channel = MakeControlPair();
  const UniqueFd given(eventfd(0, EFD_CLOEXEC));
  FUZZ_CHECK(dup3(STDERR_FILENO, kOwn, O_CLOEXEC) == kOwn);
  for (uint32_t i = script.Pick(4); i > 0; i--) {
    std::vector<int> had(1 + script.Pick(80));
    for (int& number : had) {
      const uint32_t kind = script.Pick(8);
      number = kind == 0   ? -script.Take<uint16_t>()
               : kind == 1 ? static_cast<int>(script.Pick(kFirstKept))
                           : kFirst + static_cast<int>(script.Pick(kLast - kFirst + 1));
    }
    const std::vector<int> fds(script.Pick(80), given.get());
    iovec parts[] = {{had.data(), had.size() * sizeof(int) - script.Pick(4)}};
    FUZZ_CHECK(SendMessage(channel.launcher.get(), parts, fds) > 0);
  }
  shutdown(channel.launcher.get(), SHUT_WR);
  std::vector<int> numbers(script.Pick(150));
  for (int& number : numbers) number = kFirst + static_cast<int>(script.Pick(40));
  TakeDescriptors(channel.program.get(), numbers);
  FUZZ_CHECK(FileOf(kOwn) == FileOf(STDERR_FILENO));
  close(kOwn);
  for (int fd = kFirst; fd <= kLast; fd++) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0) continue;
    FUZZ_CHECK(flags == FD_CLOEXEC);
    close(fd);
  }
}

}  // namespace
}  // namespace viewfsd::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  FUZZ_CHECK(viewfsd::PrepareOwnNumbers() == 0 && viewfsd::ReserveOwnNumbers() == 0);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viewfsd::fuzz::Script script(data, size);
  const size_t descriptors = viewfsd::fuzz::CountDescriptors();
  switch (script.Pick(4)) {
    case 0:
      viewfsd::fuzz::AskKeeper(script);
      break;
    case 1:
      viewfsd::fuzz::AskHostileKeeper(script);
      break;
    default:
      viewfsd::fuzz::Scene(script).Play();
  }
  FUZZ_CHECK(viewfsd::fuzz::CountDescriptors() == descriptors);
  return 0;
}
