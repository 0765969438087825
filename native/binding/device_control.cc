// SPDX-License-Identifier: Apache-2.0
// Device for JavaScript; declared in native/device.ts.
#include "binding/device_control.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "binding/arguments.h"
#include "binding/device_watch.h"
#include "binding/directory_argument.h"
#include "binding/errno_error.h"
#include "host/shared_directory.h"
#include "memory/guarded_access.h"
#include "sandbox/keeper.h"
#include "session/server_state.h"
#include "util/coarse_clock.h"
#include "virtio/device.h"
#include "virtio/shmem_window.h"
#include "window/view_window.h"

namespace viewfsd {
namespace {

// The numbers of a BigUint64Array argument that must have a multiple of `stride` of them.
std::vector<uint64_t> Numbers(const Napi::CallbackInfo& info, size_t index, const char* name,
                              size_t stride) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array)
    throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a BigUint64Array");
  Napi::BigUint64Array array = value.As<Napi::BigUint64Array>();
  if (array.ElementLength() % stride != 0)
    throw Napi::RangeError::New(info.Env(), std::string(name) + " has a wrong length");
  return {array.Data(), array.Data() + array.ElementLength()};
}

// For a successor; none where there is to be none.
UniqueFd KeptCopy(int fd) {
  return UniqueFd(ServerState::Get() == nullptr ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, kFirstKept));
}

RegionFd Kept(const RegionDescription& region, int fd) {
  return {region, std::make_shared<UniqueFd>(KeptCopy(fd))};
}

RegionDescription Describe(const uint64_t* numbers) {
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

std::shared_ptr<Device> DeviceArgument(const Napi::CallbackInfo& info) {
  const auto id = static_cast<uint32_t>(IntegerArgument(info, 0, "device", 0, UINT32_MAX));
  std::shared_ptr<Device> device = Device::Find(id);
  if (device == nullptr) throw Napi::RangeError::New(info.Env(), "no such device");
  return device;
}

class DeviceControl : public Napi::ObjectWrap<DeviceControl> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "DeviceControl",
                       {InstanceAccessor<&DeviceControl::Id>("id"),
                        InstanceAccessor<&DeviceControl::QuiescedFd>("quiescedFd"),
                        InstanceMethod<&DeviceControl::SetFeatures>("setFeatures"),
                        InstanceMethod<&DeviceControl::SetDirtyLogging>("setDirtyLogging"),
                        InstanceMethod<&DeviceControl::SetLogBase>("setLogBase"),
                        InstanceMethod<&DeviceControl::SetLogSignal>("setLogSignal"),
                        InstanceMethod<&DeviceControl::SetMemoryTable>("setMemoryTable"),
                        InstanceMethod<&DeviceControl::AddRegion>("addRegion"),
                        InstanceMethod<&DeviceControl::RemoveRegion>("removeRegion"),
                        InstanceMethod<&DeviceControl::SetVringSize>("setVringSize"),
                        InstanceMethod<&DeviceControl::SetVringAddresses>("setVringAddresses"),
                        InstanceMethod<&DeviceControl::SetVringBase>("setVringBase"),
                        InstanceMethod<&DeviceControl::SetVringKick>("setVringKick"),
                        InstanceMethod<&DeviceControl::SetVringCall>("setVringCall"),
                        InstanceMethod<&DeviceControl::SetVringError>("setVringError"),
                        InstanceMethod<&DeviceControl::SetVringEnabled>("setVringEnabled"),
                        InstanceMethod<&DeviceControl::RequestStop>("requestStop"),
                        InstanceMethod<&DeviceControl::FinishStop>("finishStop"),
                        InstanceMethod<&DeviceControl::BrokenReason>("brokenReason"),
                        InstanceMethod<&DeviceControl::SetBackendSocket>("setBackendSocket"),
                        InstanceMethod<&DeviceControl::Record>("record"),
                        InstanceMethod<&DeviceControl::Restore>("restore"),
                        InstanceMethod<&DeviceControl::Refuse>("refuse"),
                        InstanceMethod<&DeviceControl::Pause>("pause"),
                        InstanceMethod<&DeviceControl::TakeDeadly>("takeDeadly"),
                        InstanceMethod<&DeviceControl::AddView>("addView"),
                        InstanceMethod<&DeviceControl::ViewLost>("viewLost"),
                        InstanceMethod<&DeviceControl::ForgetWindow>("forgetWindow"),
                        InstanceMethod<&DeviceControl::Reset>("reset"),
                        InstanceMethod<&DeviceControl::Destroy>("destroy"),
                        InstanceMethod<&DeviceControl::RequestsInProgress>("requestsInProgress"),
                        InstanceMethod<&DeviceControl::ShowLatencies>("latencies"),
                        InstanceMethod<&DeviceControl::ShowHotInodes>("hotInodes"),
                        InstanceMethod<&DeviceControl::Counters>("counters")});
  }

  explicit DeviceControl(const Napi::CallbackInfo& info) : Napi::ObjectWrap<DeviceControl>(info) {
    InstallFaultHandlers();
    const auto queues = static_cast<uint32_t>(IntegerArgument(info, 0, "queueCount", 1, 256));
    const int64_t threads =
        info.Length() < 2 ? 0
                          : IntegerArgument(info, 1, "poolThreads", 0, RequestPool::kMaxThreads);
    device_ = Device::Create(queues, static_cast<size_t>(threads));
  }

 private:
  uint32_t QueueIndex(const Napi::CallbackInfo& info) {
    return static_cast<uint32_t>(
        IntegerArgument(info, 0, "queue", 0, static_cast<int64_t>(device_->queues().size()) - 1));
  }
  // A queue that main may set up now.
  Queue& StoppedQueue(const Napi::CallbackInfo& info) {
    Queue& queue = *device_->queues()[QueueIndex(info)];
    if (queue.started) throw Napi::Error::New(info.Env(), "the ring is running");
    return queue;
  }

  Napi::Value Id(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), device_->id());
  }
  Napi::Value QuiescedFd(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), device_->quiesced_fd());
  }

  void SetFeatures(const Napi::CallbackInfo& info) {
    device_->SetFeatures(BooleanArgument(info, 0, "eventIdx"), BooleanArgument(info, 1, "indirect"),
                         BooleanArgument(info, 2, "ringsStartEnabled"));
  }

  void SetDirtyLogging(const Napi::CallbackInfo& info) {
    device_->dirty_log().SetEnabled(BooleanArgument(info, 0, "enabled"));
  }

  void SetLogBase(const Napi::CallbackInfo& info) {
    const int fd = FdArgument(info, 0);
    const std::vector<uint64_t> numbers = Numbers(info, 1, "log", 2);
    if (numbers.size() != 2) throw Napi::RangeError::New(info.Env(), "log needs 2 numbers");
    if (const int error = device_->SetLogBase(fd, numbers[0], numbers[1], KeptCopy(fd)))
      throw ErrnoError(info.Env(), error, "mmap");
  }

  void SetLogSignal(const Napi::CallbackInfo& info) {
    device_->SetLogSignal(
        UniqueFd(static_cast<int>(IntegerArgument(info, 0, "fd", -1, INT32_MAX))));
  }

  void SetMemoryTable(const Napi::CallbackInfo& info) {
    const std::vector<uint64_t> numbers = Numbers(info, 0, "regions", 4);
    if (!info[1].IsArray()) throw Napi::TypeError::New(info.Env(), "fds must be an array");
    const Napi::Array array = info[1].As<Napi::Array>();
    std::vector<RegionDescription> descriptions;
    std::vector<int> fds;
    for (size_t i = 0; i < numbers.size(); i += 4) descriptions.push_back(Describe(&numbers[i]));
    for (uint32_t i = 0; i < array.Length(); i++)
      fds.push_back(array.Get(i).ToNumber().Int32Value());
    if (const int error = device_->memory().SetTable(descriptions, fds))
      throw ErrnoError(info.Env(), error, "mmap");
    std::vector<RegionFd> kept;
    if (ServerState::Get() != nullptr)
      for (size_t i = 0; i < descriptions.size(); i++)
        kept.push_back(Kept(descriptions[i], fds[i]));
    device_->SetRegionFds(std::move(kept));
  }

  void AddRegion(const Napi::CallbackInfo& info) {
    const std::vector<uint64_t> numbers = Numbers(info, 0, "region", 4);
    if (numbers.size() != 4) throw Napi::RangeError::New(info.Env(), "region needs 4 numbers");
    const RegionDescription region = Describe(numbers.data());
    const int fd = FdArgument(info, 1);
    // It may be served once more: see Device::Restore.
    for (const RegionFd& have : device_->region_fds())
      if (memcmp(&have.region, &region, sizeof(region)) == 0) return;
    if (const int error = device_->memory().AddRegion(region, fd))
      throw ErrnoError(info.Env(), error, "mmap");
    if (ServerState::Get() == nullptr) return;
    std::vector<RegionFd> kept = device_->region_fds();
    kept.push_back(Kept(region, fd));
    device_->SetRegionFds(std::move(kept));
  }

  void RemoveRegion(const Napi::CallbackInfo& info) {
    const std::vector<uint64_t> numbers = Numbers(info, 0, "region", 4);
    if (numbers.size() != 4) throw Napi::RangeError::New(info.Env(), "region needs 4 numbers");
    const RegionDescription region = Describe(numbers.data());
    if (const int error = device_->memory().RemoveRegion(region))
      throw ErrnoError(info.Env(), error, "munmap");
    std::vector<RegionFd> kept = device_->region_fds();
    std::erase_if(kept, [&](const RegionFd& have) {
      return have.region.guest_address == region.guest_address && have.region.size == region.size;
    });
    device_->SetRegionFds(std::move(kept));
  }

  void SetVringSize(const Napi::CallbackInfo& info) {
    const auto size =
        static_cast<uint32_t>(IntegerArgument(info, 1, "size", 1, SplitVirtqueue::kMaxSize));
    if ((size & (size - 1)) != 0)
      throw Napi::RangeError::New(info.Env(), "size must be a power of two");
    StoppedQueue(info).size = size;
  }

  void SetVringAddresses(const Napi::CallbackInfo& info) {
    const std::vector<uint64_t> numbers = Numbers(info, 1, "addresses", 3);
    if (numbers.size() != 3) throw Napi::RangeError::New(info.Env(), "addresses needs 3 numbers");
    Queue& queue = *device_->queues()[QueueIndex(info)];
    const SplitVirtqueue::Addresses next = {numbers[0], numbers[1], numbers[2]};
    if (queue.started) {
      // A frontend may repeat them, to change flags.
      if (next.descriptors != queue.addresses.descriptors ||
          next.available != queue.addresses.available || next.used != queue.addresses.used)
        throw Napi::Error::New(info.Env(), "the ring is running");
      return;
    }
    if (device_->RingInWindow(next))
      throw Napi::Error::New(info.Env(), "a ring lies in a DAX window");
    queue.addresses = next;
    queue.addresses_set = true;
  }

  void SetVringBase(const Napi::CallbackInfo& info) {
    const auto base = static_cast<uint16_t>(IntegerArgument(info, 1, "base", 0, UINT16_MAX));
    StoppedQueue(info).base = base;
  }

  void SetVringKick(const Napi::CallbackInfo& info) {
    const uint32_t index = QueueIndex(info);
    UniqueFd kick(FdArgument(info, 1));
    // The table may have changed since the addresses were set.
    const Queue& queue = *device_->queues()[index];
    if (queue.addresses_set && device_->RingInWindow(queue.addresses))
      throw Napi::Error::New(info.Env(), "a ring lies in a DAX window");
    if (const int error = device_->SetKick(index, std::move(kick)))
      throw ErrnoError(info.Env(), error, "epoll_ctl");
  }

  void SetVringCall(const Napi::CallbackInfo& info) {
    Queue& queue = *device_->queues()[QueueIndex(info)];
    UniqueFd fd(static_cast<int>(IntegerArgument(info, 1, "fd", -1, INT32_MAX)));
    const std::lock_guard lock(queue.mutex);
    device_->Retire(std::move(queue.call));
    queue.call = std::move(fd);
  }

  void SetVringError(const Napi::CallbackInfo& info) {
    Queue& queue = *device_->queues()[QueueIndex(info)];
    UniqueFd fd(static_cast<int>(IntegerArgument(info, 1, "fd", -1, INT32_MAX)));
    const std::lock_guard lock(queue.mutex);
    device_->Retire(std::move(queue.err));
    queue.err = std::move(fd);
  }

  void SetVringEnabled(const Napi::CallbackInfo& info) {
    device_->SetEnabled(QueueIndex(info), BooleanArgument(info, 1, "enabled"));
  }

  Napi::Value RequestStop(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), device_->RequestStop(QueueIndex(info)));
  }

  Napi::Value FinishStop(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), device_->FinishStop(QueueIndex(info)));
  }

  // Why a ring was stopped; taken once.
  Napi::Value BrokenReason(const Napi::CallbackInfo& info) {
    Queue& queue = *device_->queues()[QueueIndex(info)];
    const std::lock_guard lock(queue.mutex);
    if (queue.broken_reason.empty()) return info.Env().Undefined();
    const std::string reason = std::exchange(queue.broken_reason, "");
    return Napi::String::New(info.Env(), reason);
  }

  void SetBackendSocket(const Napi::CallbackInfo& info) {
    device_->backend().SetSocket(
        UniqueFd(static_cast<int>(IntegerArgument(info, 0, "fd", -1, INT32_MAX))));
  }

  // record(connection, protocolFeatures, lastQueue, windowPossible, windowActive, repliesEnd)
  void Record(const Napi::CallbackInfo& info) {
    bool lossless = false;
    if (!info[1].IsBigInt())
      throw Napi::TypeError::New(info.Env(), "protocolFeatures must be a bigint");
    device_->Record(
        {.connection = static_cast<int>(IntegerArgument(info, 0, "connection", -1, INT32_MAX)),
         .protocol_features = info[1].As<Napi::BigInt>().Uint64Value(&lossless),
         .last_queue = static_cast<uint32_t>(IntegerArgument(info, 2, "lastQueue", 0, 255)),
         .window_possible = BooleanArgument(info, 3, "windowPossible"),
         .window_active = BooleanArgument(info, 4, "windowActive"),
         .replies_end = OffsetArgument(info, 5, "repliesEnd")});
  }

  Napi::Value Restore(const Napi::CallbackInfo& info) {
    const std::optional<FrontendState> state =
        device_->Restore(BooleanArgument(info, 0, "crashed"));
    if (!state) return info.Env().Undefined();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("connection", state->connection);
    result.Set("protocolFeatures", Napi::BigInt::New(info.Env(), state->protocol_features));
    result.Set("lastQueue", state->last_queue);
    result.Set("windowPossible", state->window_possible);
    result.Set("windowActive", state->window_active);
    result.Set("repliesEnd", static_cast<double>(state->replies_end));
    result.Set("logs", device_->dirty_log().enabled());
    Napi::Array running = Napi::Array::New(info.Env());
    for (uint32_t i = 0; i < device_->queues().size(); i++)
      if (device_->queues()[i]->started) running.Set(running.Length(), i);
    result.Set("running", running);
    return result;
  }

  // takeDeadly(): the requests' bytes
  Napi::Value TakeDeadly(const Napi::CallbackInfo& info) {
    Napi::Array requests = Napi::Array::New(info.Env());
    for (const std::vector<uint8_t>& request : device_->TakeDeadly())
      requests.Set(requests.Length(),
                   Napi::Buffer<uint8_t>::Copy(info.Env(), request.data(), request.size()));
    return requests;
  }

  void Pause(const Napi::CallbackInfo&) { device_->Pause(); }

  void Refuse(const Napi::CallbackInfo&) { device_->Refuse(); }

  void AddView(const Napi::CallbackInfo& info) { device_->AddView(FdArgument(info, 0)); }

  Napi::Value ViewLost(const Napi::CallbackInfo& info) {
    const int fd = FdArgument(info, 0);
    return Napi::Boolean::New(info.Env(), device_->ViewLost(fd, OffsetArgument(info, 1, "size")));
  }

  void ForgetWindow(const Napi::CallbackInfo&) { device_->ForgetWindow(); }

  void Reset(const Napi::CallbackInfo&) { device_->Reset(); }

  void Destroy(const Napi::CallbackInfo&) {
    device_->Shutdown();
    Device::Drop(device_->id());
  }

  Napi::Value RequestsInProgress(const Napi::CallbackInfo& info) {
    Napi::Array result = Napi::Array::New(info.Env());
    const auto add = [&](uint32_t worker, double number, uint32_t opcode, double nodeid,
                         int64_t since) {
      Napi::Object request = Napi::Object::New(info.Env());
      request.Set("worker", worker);
      request.Set("number", number);
      request.Set("opcode", opcode);
      request.Set("nodeid", nodeid);
      request.Set("milliseconds", static_cast<double>(CoarseNow() - since) / 1e6);
      result.Set(result.Length(), request);
    };
    for (uint32_t i = 0; i < device_->workers().size(); i++) {
      RequestInProgress& shown = device_->workers()[i]->request;
      const uint64_t number = shown.number.load();
      const int64_t since = shown.since.load();
      const double nodeid = static_cast<double>(shown.nodeid.load());
      const uint32_t opcode = shown.opcode.load();
      // Another one came meanwhile.
      if (since == 0 || shown.number.load() != number) continue;
      add(i, static_cast<double>(number), opcode, nodeid, since);
    }
    // Numbers of their own, which no thread's count reaches from the other side.
    const auto add_pooled = [&](const std::vector<PooledInProgress>& requests) {
      for (const PooledInProgress& pooled : requests)
        add(pooled.worker, -static_cast<double>(pooled.number), pooled.opcode,
            static_cast<double>(pooled.nodeid), pooled.since);
    };
    add_pooled(device_->pool().InProgress());
    for (const auto& worker : device_->workers())
      if (worker->reads != nullptr) add_pooled(worker->reads->InProgress());
    return result;
  }

  Napi::Value ShowLatencies(const Napi::CallbackInfo& info) {
    return LatenciesOf(info.Env(), *device_);
  }

  Napi::Value ShowHotInodes(const Napi::CallbackInfo& info) {
    return HotInodesOf(info.Env(), *device_);
  }

  Napi::Value Counters(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    uint64_t requests = 0, signals = 0, refused = 0, waits = 0, spin_hits = 0;
    uint64_t pooled = 0, async_reads = 0;
    for (const auto& queue : device_->queues()) {
      requests += queue->requests.load(std::memory_order_relaxed);
      signals += queue->signals.load(std::memory_order_relaxed);
      refused += queue->refused.load(std::memory_order_relaxed);
    }
    for (const auto& worker : device_->workers()) {
      waits += worker->waits.load(std::memory_order_relaxed);
      spin_hits += worker->spin_hits.load(std::memory_order_relaxed);
      pooled += worker->pooled.load(std::memory_order_relaxed);
      async_reads += worker->async_reads.load(std::memory_order_relaxed);
    }
    Napi::Object result = Napi::Object::New(env);
    const auto set = [&](const char* name, uint64_t value) {
      result.Set(name, Napi::Number::New(env, static_cast<double>(value)));
    };
    set("requests", requests);
    set("signals", signals);
    set("refused", refused);
    set("waits", waits);
    set("spinHits", spin_hits);
    set("pooled", pooled);
    set("asyncReads", async_reads);
    set("shmemMaps", device_->backend().maps());
    set("shmemUnmaps", device_->backend().unmaps());
    set("shmemLive", device_->ShmemLive());
    set("memoryRegions", device_->memory().Get()->regions().size());
    set("guardedFaults", GuardedFaultCount());
    result.Set("dataPlane", DataPlaneCounters(env));
    return result;
  }

  // What the data planes of all queue threads have served.
  Napi::Object DataPlaneCounters(Napi::Env env) {
    FuseCounters sum;
    for (const auto& worker : device_->workers()) {
      for (size_t opcode = 0; opcode < sum.requests.size(); opcode++)
        sum.requests[opcode].Add(worker->fuse.requests[opcode].value());
      sum.errors.Add(worker->fuse.errors.value());
      sum.bytes_read.Add(worker->fuse.bytes_read.value());
      sum.bytes_written.Add(worker->fuse.bytes_written.value());
      sum.mappings_set_up.Add(worker->fuse.mappings_set_up.value());
      sum.mappings_set_up_writable.Add(worker->fuse.mappings_set_up_writable.value());
      sum.mappings_refused.Add(worker->fuse.mappings_refused.value());
      sum.mappings_removed.Add(worker->fuse.mappings_removed.value());
    }
    const auto number = [env](const FuseCounter& counter) {
      return Napi::Number::New(env, static_cast<double>(counter.value()));
    };
    Napi::Array requests = Napi::Array::New(env, sum.requests.size());
    for (uint32_t opcode = 0; opcode < sum.requests.size(); opcode++)
      requests.Set(opcode, number(sum.requests[opcode]));
    Napi::Object result = Napi::Object::New(env);
    result.Set("requests", requests);
    result.Set("errors", number(sum.errors));
    result.Set("bytesRead", number(sum.bytes_read));
    result.Set("bytesWritten", number(sum.bytes_written));
    result.Set("mappingsSetUp", number(sum.mappings_set_up));
    result.Set("mappingsSetUpWritable", number(sum.mappings_set_up_writable));
    result.Set("mappingsRefused", number(sum.mappings_refused));
    result.Set("mappingsRemoved", number(sum.mappings_removed));
    return result;
  }

  std::shared_ptr<Device> device_;
};

// --- the window ---

Napi::Value StartViewWindow(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Device> device = DeviceArgument(info);
  const int fd = FdArgument(info, 1);
  const uint64_t size = OffsetArgument(info, 2, "size");
  const int64_t patience = IntegerArgument(info, 3, "timeoutMs", 0, 3'600'000);
  return Napi::Number::New(info.Env(),
                           device->StartViewWindow(fd, size, std::chrono::milliseconds(patience)));
}

void AttachView(const Napi::CallbackInfo& info) {
  SharedDirectory& directory = DirectoryArgument(info, 0);
  directory.set_window(
      std::make_unique<ViewWindow>(directory.view_ranges(), FdArgument(info, 1, "controlFd")));
}

void AttachShmem(const Napi::CallbackInfo& info) {
  DirectoryArgument(info, 1).set_window(std::make_unique<ShmemWindow>(DeviceArgument(info)));
}

void ShmemReset(const Napi::CallbackInfo& info) { DeviceArgument(info)->ShmemReset(); }

}  // namespace

void InitDeviceControl(Napi::Env env, Napi::Object exports) {
  exports.Set("DeviceControl", DeviceControl::Define(env));
  Napi::Object window = Napi::Object::New(env);
  window.Set("startViewWindow", Napi::Function::New(env, StartViewWindow));
  window.Set("attachView", Napi::Function::New(env, AttachView));
  window.Set("attachShmem", Napi::Function::New(env, AttachShmem));
  window.Set("shmemReset", Napi::Function::New(env, ShmemReset));
  exports.Set("deviceWindow", window);
}

}  // namespace viewfsd
