// SPDX-License-Identifier: Apache-2.0
// Waits for a descriptor on a thread of its own; declared in native/unix-socket.ts. Node-API has no
// way to add one to the event loop without libuv's headers, and the few sockets of the control path
// need no speed.
#include "binding/fd_watcher.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "binding/arguments.h"
#include "util/signal_eventfd.h"
#include "util/unique_fd.h"

namespace viewfsd {
namespace {

class FdWatcher : public Napi::ObjectWrap<FdWatcher> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "FdWatcher",
        {InstanceMethod<&FdWatcher::Arm>("arm"), InstanceMethod<&FdWatcher::Close>("close")});
  }

  explicit FdWatcher(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<FdWatcher>(info), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    fd_ = FdArgument(info, 0);
    if (!info[1].IsFunction())
      throw Napi::TypeError::New(info.Env(), "callback must be a function");
    callback_ =
        Napi::ThreadSafeFunction::New(info.Env(), info[1].As<Napi::Function>(), "FdWatcher", 0, 1);
    thread_ = std::thread([this] { Watch(); });
  }

  ~FdWatcher() override { Stop(); }

 private:
  void Arm(const Napi::CallbackInfo&) {
    if (!thread_.joinable()) return;
    armed_.store(true);
    SignalEventFd(wake_.get());
  }

  void Close(const Napi::CallbackInfo&) { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    stop_.store(true);
    SignalEventFd(wake_.get());
    thread_.join();
    // Garbage collection, which would close it, comes at its own time.
    wake_.reset();
    callback_.Release();
  }

  void Watch() {
    bool hung_up = false;
    while (!stop_.load()) {
      const bool armed = armed_.load();
      // POLLHUP is reported whatever is asked for.
      const short wanted = armed ? POLLIN : 0;
      pollfd events[2] = {{wake_.get(), POLLIN, 0}, {fd_, wanted, 0}};
      if (poll(events, armed || !hung_up ? 2 : 1, -1) < 0) continue;
      if (events[0].revents != 0) {
        uint64_t count;
        if (read(wake_.get(), &count, sizeof(count)) < 0) continue;
        continue;
      }
      if (events[1].revents != 0) {
        armed_.store(false);
        hung_up = !armed;
        callback_.NonBlockingCall();
      }
    }
  }

  int fd_ = -1;
  UniqueFd wake_;
  std::atomic<bool> armed_{false};
  std::atomic<bool> stop_{false};
  Napi::ThreadSafeFunction callback_;
  std::thread thread_;
};

}  // namespace

void InitFdWatcher(Napi::Env env, Napi::Object exports) {
  exports.Set("FdWatcher", FdWatcher::Define(env));
}

}  // namespace viewfsd
