// SPDX-License-Identifier: Apache-2.0
// The data plane on messages in plain memory, without a ring; declared in message-server.ts.
#include "testing/message_server.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "fuse/data_plane.h"

namespace viewfsd {
namespace {

class MessageServer : public Napi::ObjectWrap<MessageServer> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "MessageServer", {InstanceMethod<&MessageServer::Serve>("serve")});
  }

  explicit MessageServer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MessageServer>(info) {
    plane_.emplace(DirectoryArgument(info), counters_);
  }

 private:
  // serve(message, reply): as the transport would, with the message in a buffer of its very size,
  // so that whoever reads beyond it is found out.
  Napi::Value Serve(const Napi::CallbackInfo& info) {
    const Bytes message = BytesArgument(info, 0, "message");
    const Bytes reply = BytesArgument(info, 1, "reply");
    std::vector<uint8_t> copy(message.data, message.data + message.size);
    iovec readable = {copy.data(), copy.size()};
    iovec writable = {reply.data, reply.size};
    FuseRequest request;
    uint32_t opcode = 0;
    if (copy.size() >= 8) memcpy(&opcode, copy.data() + 4, sizeof(opcode));
    auto copied = static_cast<uint32_t>(copy.size());
    if (opcode == FUSE_WRITE) copied = std::min(copied, kWriteHeaders);
    request.readable = {&readable, 1, copy.size()};
    request.payload_offset = copied;
    request.payload_size = copy.size() - copied;
    request.writable = {&writable, 1, reply.size};
    int64_t size = kAsk;
    if (DecodeHeader(copy.data(), copied, request.payload_size, &request)) {
      const Answer answer = plane_->Serve(request, reply.data + sizeof(fuse_out_header),
                                          reply.size - std::min(reply.size, kOutHeader));
      size = Finish(answer, request, reply);
      plane_->AfterReply();
    }
    return Napi::Number::New(info.Env(), static_cast<double>(size));
  }

  static int64_t Finish(const Answer& answer, const FuseRequest& request, const Bytes& reply) {
    if (answer.kind == Answer::Kind::kAsk) return kAsk;
    if (answer.kind == Answer::Kind::kWait || answer.kind == Answer::Kind::kInterrupted)
      return kWait;
    if (answer.kind == Answer::Kind::kSilent) return 0;
    const uint64_t body = answer.value < 0 ? 0 : static_cast<uint64_t>(answer.value);
    const fuse_out_header header = {static_cast<uint32_t>(kOutHeader + body),
                                    answer.value < 0 ? static_cast<int32_t>(answer.value) : 0,
                                    request.header.unique};
    memcpy(reply.data, &header, sizeof(header));
    return header.len;
  }

  static constexpr int64_t kAsk = -1;
  static constexpr int64_t kWait = -2;
  static constexpr size_t kOutHeader = sizeof(fuse_out_header);

  FuseCounters counters_;
  std::optional<DataPlane> plane_;
};

}  // namespace

void InitMessageServer(Napi::Env env, Napi::Object exports) {
  exports.Set("MessageServer", MessageServer::Define(env));
}

}  // namespace viewfsd
