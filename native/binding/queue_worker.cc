// SPDX-License-Identifier: Apache-2.0
// RequestServer for JavaScript; declared in native/device.ts.
#include "binding/queue_worker.h"

#include <memory>

#include "binding/arguments.h"
#include "virtio/request_server.h"

namespace viewfsd {
namespace {

class QueueWorker : public Napi::ObjectWrap<QueueWorker> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "QueueWorker",
        {InstanceMethod<&QueueWorker::Next>("next"), InstanceMethod<&QueueWorker::Reply>("reply"),
         InstanceMethod<&QueueWorker::ReplyError>("replyError"),
         InstanceMethod<&QueueWorker::NoReply>("noReply"),
         InstanceMethod<&QueueWorker::Defer>("defer"),
         InstanceMethod<&QueueWorker::Resume>("resume"),
         InstanceMethod<&QueueWorker::ServeAgain>("serveAgain"),
         InstanceMethod<&QueueWorker::GiveBack>("giveBack"),
         InstanceMethod<&QueueWorker::BeginSession>("beginSession"),
         InstanceMethod<&QueueWorker::Close>("close")});
  }

  explicit QueueWorker(const Napi::CallbackInfo& info) : Napi::ObjectWrap<QueueWorker>(info) {
    const Napi::Env env = info.Env();
    const auto id = static_cast<uint32_t>(IntegerArgument(info, 0, "device", 0, UINT32_MAX));
    const auto worker = static_cast<uint32_t>(IntegerArgument(info, 1, "worker", 0, UINT32_MAX));
    std::shared_ptr<Device> device = Device::Find(id);
    if (device == nullptr || worker >= device->workers().size())
      throw Napi::RangeError::New(env, "no such device or worker");
    Napi::ArrayBuffer request = Napi::ArrayBuffer::New(env, RequestServer::kRequestBytes);
    Napi::ArrayBuffer reply = Napi::ArrayBuffer::New(env, RequestServer::kReplyBytes);
    Napi::Uint32Array state = Napi::Uint32Array::New(env, 4);
    state_ = state.Data();
    SharedDirectory* directory =
        FindSharedDirectory(static_cast<int>(IntegerArgument(info, 2, "directory", -1, INT32_MAX)));
    server_ = std::make_unique<RequestServer>(std::move(device), worker, directory,
                                              static_cast<uint8_t*>(request.Data()),
                                              static_cast<uint8_t*>(reply.Data()));
    // The references keep the memory where it is for as long as server_ writes to it.
    request_ = Napi::Persistent(request);
    reply_ = Napi::Persistent(reply);
    state_reference_ = Napi::Persistent(state);
    Napi::Object self = info.This().As<Napi::Object>();
    self.Set("requestBuffer", request);
    self.Set("replyBuffer", reply);
    self.Set("state", state);
  }

 private:
  RequestServer& Server(const Napi::CallbackInfo& info) {
    if (server_ == nullptr) throw Napi::Error::New(info.Env(), "the queue worker is closed");
    return *server_;
  }

  Napi::Value Next(const Napi::CallbackInfo& info) {
    const int timeout =
        info.Length() == 0 ? -1
                           : static_cast<int>(IntegerArgument(info, 0, "timeoutMs", -1, INT32_MAX));
    RequestServer& server = Server(info);
    const int queue = server.Next(timeout);
    if (queue >= 0) ShowRequest(server);
    return Napi::Number::New(info.Env(), queue);
  }

  void ShowRequest(const RequestServer& server) {
    state_[0] = server.request_size();
    state_[1] = server.payload_size();
    state_[2] = server.reply_capacity();
    state_[3] = server.session();
  }

  Napi::Value Reply(const Napi::CallbackInfo& info) {
    return Napi::Number::New(
        info.Env(), static_cast<double>(Server(info).Reply(OffsetArgument(info, 0, "bodyLength"))));
  }

  Napi::Value ReplyError(const Napi::CallbackInfo& info) {
    const auto error = static_cast<int>(IntegerArgument(info, 0, "errno", 0, 4095));
    return Napi::Number::New(info.Env(), static_cast<double>(Server(info).ReplyError(error)));
  }

  Napi::Value NoReply(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(Server(info).NoReply()));
  }

  Napi::Value GiveBack(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(Server(info).GiveBack()));
  }

  Napi::Value BeginSession(const Napi::CallbackInfo& info) {
    RequestServer& server = Server(info);
    const int64_t result = server.BeginSession();
    state_[3] = server.session();
    return Napi::Number::New(info.Env(), static_cast<double>(result));
  }

  Napi::Value Defer(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(Server(info).Defer()));
  }

  Napi::Value Resume(const Napi::CallbackInfo& info) {
    const auto number = static_cast<uint32_t>(IntegerArgument(info, 0, "deferred", 0, UINT32_MAX));
    RequestServer& server = Server(info);
    const int64_t result = server.Resume(number);
    if (result == 0) ShowRequest(server);
    return Napi::Number::New(info.Env(), static_cast<double>(result));
  }

  Napi::Value ServeAgain(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(Server(info).ServeAgain()));
  }

  void Close(const Napi::CallbackInfo&) { server_.reset(); }

  std::unique_ptr<RequestServer> server_;
  uint32_t* state_ = nullptr;
  Napi::Reference<Napi::ArrayBuffer> request_;
  Napi::Reference<Napi::ArrayBuffer> reply_;
  Napi::Reference<Napi::Uint32Array> state_reference_;
};

}  // namespace

void InitQueueWorker(Napi::Env env, Napi::Object exports) {
  exports.Set("QueueWorker", QueueWorker::Define(env));
}

}  // namespace viewfsd
