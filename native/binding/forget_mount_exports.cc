// SPDX-License-Identifier: Apache-2.0
// ForgetMount for JavaScript; declared in native/forget-mount.ts.
#include "binding/forget_mount_exports.h"

#include <memory>
#include <string>
#include <utility>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "host/forget_mount.h"
#include "session/guest_session.h"
#include "virtio/device.h"

namespace viewfsd {

namespace {

class ForgetMountWorker : public Napi::AsyncWorker {
 public:
  ForgetMountWorker(Napi::Env env, SharedDirectory& directory, std::shared_ptr<Device> device,
                    std::string path, bool may_unmap)
      : Napi::AsyncWorker(env),
        directory_(directory),
        device_(std::move(device)),
        path_(std::move(path)),
        may_unmap_(may_unmap),
        deferred_(env) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    // As a request of this moment.
    if (device_ != nullptr) EnterSession(device_->sessions());
    result_ = ForgetMount(directory_, path_.c_str(), may_unmap_, &forgotten_);
    if (device_ != nullptr) LeaveSession(device_->sessions());
  }
  void OnOK() override {
    if (result_ < 0) {
      deferred_.Resolve(Napi::Number::New(Env(), result_));
      return;
    }
    Napi::Object object = Napi::Object::New(Env());
    const auto set = [&](const char* name, uint64_t count) {
      object.Set(name, Napi::Number::New(Env(), static_cast<double>(count)));
    };
    set("inodes", forgotten_.inodes);
    set("handles", forgotten_.handles);
    set("ranges", forgotten_.ranges);
    deferred_.Resolve(object);
  }

 private:
  SharedDirectory& directory_;
  const std::shared_ptr<Device> device_;
  const std::string path_;
  const bool may_unmap_;
  int result_ = 0;
  ForgottenMount forgotten_;
  const Napi::Promise::Deferred deferred_;
};

// forgetMount(directory, device, path, mayUnmap)
Napi::Value ForgetMountAt(const Napi::CallbackInfo& info) {
  SharedDirectory& directory = DirectoryArgument(info, 0);
  const int64_t device = IntegerArgument(info, 1, "device", -1, UINT32_MAX);
  auto* worker = new ForgetMountWorker(
      info.Env(), directory, device < 0 ? nullptr : Device::Find(static_cast<uint32_t>(device)),
      StringArgument(info, 2, "path"), BooleanArgument(info, 3, "mayUnmap"));
  const Napi::Promise promise = worker->promise();
  // Deletes itself.
  worker->Queue();
  return promise;
}

}  // namespace

void InitForgetMount(Napi::Env env, Napi::Object exports) {
  exports.Set("forgetMount", Napi::Function::New(env, ForgetMountAt));
}

}  // namespace viewfsd
