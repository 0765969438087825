// SPDX-License-Identifier: Apache-2.0
// A server's relation to the ones before and after it; declared in native/servers.ts.
#include "binding/servers.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <vector>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "binding/errno_error.h"
#include "sandbox/keeper.h"
#include "session/server_state.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

// launcher/descriptors.h: kTaken
constexpr char kTaken = 't';
constexpr char kUpgrade = 'u';

void Say(const Napi::CallbackInfo& info, char byte) {
  if (send(FdArgument(info, 0, "channel"), &byte, 1, MSG_NOSIGNAL) != 1)
    throw ErrnoError(info.Env(), errno, "send");
}

thread_local int32_t session_words[SessionRecord::kWords];

// Of the file of replies, where the next one goes.
uint64_t replies_end = 0;

StateRecord& State(const Napi::CallbackInfo& info) {
  StateRecord* const state = ServerState::Get();
  if (state == nullptr) throw Napi::Error::New(info.Env(), "there is no state");
  return *state;
}

// open(state, queueCount)
void Open(const Napi::CallbackInfo& info) {
  const auto queues = static_cast<uint32_t>(IntegerArgument(info, 1, "queueCount", 1, 256));
  if (const int result = ServerState::Open(FdArgument(info, 0, "state"), queues); result < 0)
    throw ErrnoError(info.Env(), -result, "mmap", "the state of the server before");
  if (const int result = PrepareOwnNumbers(); result < 0)
    throw ErrnoError(info.Env(), -result, "open", "/dev/null");
  StateRecord& state = State(info);
  if (state.replies.load() != 0) return;
  const UniqueFd replies(memfd_create("viewfsd-replies", MFD_CLOEXEC));
  if (!replies) throw ErrnoError(info.Env(), errno, "memfd_create");
  const int kept = fcntl(replies.get(), F_DUPFD_CLOEXEC, kFirstKept);
  if (kept < 0) throw ErrnoError(info.Env(), errno, "fcntl");
  state.replies.store(kept);
}

// startKeeper(channel)
void StartKeeperJs(const Napi::CallbackInfo& info) {
  if (const int result = StartKeeper(FdArgument(info, 0, "channel")); result < 0)
    throw ErrnoError(info.Env(), -result, "clone");
}

// reserveOwnNumbers()
void Reserve(const Napi::CallbackInfo& info) {
  if (const int result = ReserveOwnNumbers(); result < 0)
    throw ErrnoError(info.Env(), -result, "fcntl");
}

// take(keeper): the tables' descriptor, or -1 where there are none
Napi::Value Take(const Napi::CallbackInfo& info) {
  StateRecord& state = State(info);
  const int keeper = FdArgument(info, 0, "keeper");
  if (const int result = ReserveOwnNumbers(); result < 0)
    throw ErrnoError(info.Env(), -result, "fcntl");
  std::vector<int> numbers = {state.tables.load(), state.replies.load()};
  if (const DeviceRecord* device = state.device.Get(); device != nullptr && device->frontend >= 0) {
    numbers.insert(numbers.end(),
                   {device->frontend, device->backend, device->log, device->log_signal});
    for (uint32_t i = 0; i < std::min(device->region_count, DeviceRecord::kMaxRegions); i++)
      numbers.push_back(device->regions[i].fd);
    for (uint32_t i = 0; i < std::min(state.queue_count, DeviceRecord::kMaxQueues); i++)
      for (const int fd : {device->queues[i].kick, device->queues[i].call, device->queues[i].err})
        numbers.push_back(fd);
  }
  std::erase_if(numbers, [](int fd) { return fd < kFirstKept; });
  if (const int result = TakeDescriptors(keeper, numbers); result < 0)
    throw ErrnoError(info.Env(), -result, "recvmsg");
  const int tables = state.tables.load();
  const bool there = tables >= kFirstKept && fcntl(tables, F_GETFD) >= 0;
  return Napi::Number::New(info.Env(), there ? tables : -1);
}

// sayTaken(channel, predecessor)
void SayTaken(const Napi::CallbackInfo& info) {
  Say(info, kTaken);
  LeaveKeeper(static_cast<int>(IntegerArgument(info, 1, "predecessor", -1, INT32_MAX)));
}

// askForUpgrade(channel)
void AskForUpgrade(const Napi::CallbackInfo& info) { Say(info, kUpgrade); }

// canSucceed(state)
Napi::Value CanSucceed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), ServerState::Check(FdArgument(info, 0, "state")) == 0);
}

// endForSuccessor(): does not return
void EndForSuccessor(const Napi::CallbackInfo&) {
  syscall(SYS_tgkill, getpid(), gettid(), SIGKILL);
}

// noteSession(words)
void NoteSession(const Napi::CallbackInfo& info) {
  if (!info[0].IsArray()) throw Napi::TypeError::New(info.Env(), "words must be an array");
  const Napi::Array words = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < SessionRecord::kWords; i++)
    session_words[i] = words.Get(i).ToNumber().Int32Value();
}

// restoreSession(directory): the words that have been noted, or undefined without a session
Napi::Value RestoreSession(const Napi::CallbackInfo& info) {
  const SessionRecord* const left = State(info).session.Get();
  if (left == nullptr || !left->begun) return info.Env().Undefined();
  const SessionRecord record = *left;
  std::copy_n(record.words, SessionRecord::kWords, session_words);
  DirectoryArgument(info).policy().Publish(record.policy);
  Napi::Array words = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < SessionRecord::kWords; i++) words.Set(i, record.words[i]);
  return words;
}

// stageReply(bytes): where the replies end with it
Napi::Value StageReply(const Napi::CallbackInfo& info) {
  const Bytes bytes = BytesArgument(info, 0, "bytes");
  const int replies = State(info).replies.load();
  if (pwrite(replies, bytes.data, bytes.size, static_cast<off_t>(replies_end)) !=
      static_cast<ssize_t>(bytes.size))
    throw ErrnoError(info.Env(), errno, "write");
  replies_end += bytes.size;
  return Napi::Number::New(info.Env(), static_cast<double>(replies_end));
}

// sendReplies(connection): 0 or -errno. A reply has been sent if, and only if, the file's position
// is behind it: both happen within one system call.
Napi::Value SendReplies(const Napi::CallbackInfo& info) {
  const int connection = FdArgument(info, 0, "connection");
  const int replies = State(info).replies.load();
  int result = 0;
  off_t position = lseek(replies, 0, SEEK_CUR);
  while (result == 0 && position < static_cast<off_t>(replies_end)) {
    const ssize_t sent = sendfile(connection, replies, nullptr, replies_end - position);
    if (sent <= 0 && errno != EINTR) result = sent == 0 ? -EIO : -errno;
    position = lseek(replies, 0, SEEK_CUR);
  }
  // What has been sent needs no memory. The socket may still refer to pages, whole ones keep their
  // contents then.
  constexpr off_t kMuch = 65536;
  if (position >= kMuch)
    fallocate(replies, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, position / kMuch * kMuch);
  return Napi::Number::New(info.Env(), result);
}

// resumeReplies(connection, end): sends what a predecessor has left to be sent, unless its message
// is to be served again
void ResumeReplies(const Napi::CallbackInfo& info) {
  const int connection = FdArgument(info, 0, "connection");
  replies_end = OffsetArgument(info, 1, "end");
  // A frontend that has got none yet: what the one before it has got is behind this one's end.
  if (replies_end == 0) lseek(State(info).replies.load(), 0, SEEK_SET);
  char byte;
  // The frontend waits for a reply before it sends anything else.
  const bool again = recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
  if (again)
    lseek(State(info).replies.load(), static_cast<off_t>(replies_end), SEEK_SET);
  else
    SendReplies(info);
}

}  // namespace

const int32_t* SessionWords() { return session_words; }

void InitServers(Napi::Env env, Napi::Object exports) {
  Napi::Object servers = Napi::Object::New(env);
  const auto add = [&](const char* name, auto function) {
    servers.Set(name, Napi::Function::New(env, function, name));
  };
  add("open", Open);
  add("startKeeper", StartKeeperJs);
  add("reserveOwnNumbers", Reserve);
  add("take", Take);
  add("sayTaken", SayTaken);
  add("askForUpgrade", AskForUpgrade);
  add("canSucceed", CanSucceed);
  add("endForSuccessor", EndForSuccessor);
  add("noteSession", NoteSession);
  add("restoreSession", RestoreSession);
  add("stageReply", StageReply);
  add("sendReplies", SendReplies);
  add("resumeReplies", ResumeReplies);
  exports.Set("servers", servers);
}

}  // namespace viewfsd
