// SPDX-License-Identifier: Apache-2.0
// SaveDirectory and RestoreDirectory for JavaScript; declared in native/migration.ts.
#include "binding/migration_exports.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/directory_argument.h"
#include "host/restore_directory.h"
#include "host/save_directory.h"
#include "session/guest_session.h"
#include "virtio/device.h"

namespace viewfsd {
namespace {

// What JavaScript has exactly.
constexpr uint64_t kMostExact = uint64_t{1} << 53;

Napi::Value Number(Napi::Env env, uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(std::min(value, kMostExact)));
}

Napi::Value BufferOf(Napi::Env env, const void* data, size_t size) {
  return Napi::Buffer<uint8_t>::Copy(env, static_cast<const uint8_t*>(data), size);
}

Napi::Value BufferOf(Napi::Env env, const std::string& text) {
  return BufferOf(env, text.data(), text.size());
}

Napi::Object HandleObject(Napi::Env env, const SavedInode& inode) {
  const auto bytes = inode.handle.bytes();
  Napi::Object object = Napi::Object::New(env);
  object.Set("mount", Number(env, inode.mount));
  object.Set("type", Napi::Number::New(env, bytes[0]));
  object.Set("bytes", BufferOf(env, bytes.data() + 1, bytes.size() - 1));
  return object;
}

Napi::Object SavedObject(Napi::Env env, const SavedDirectory& saved) {
  Napi::Array inodes = Napi::Array::New(env, saved.inodes.size());
  for (uint32_t i = 0; i < saved.inodes.size(); i++) {
    const Napi::HandleScope scope(env);
    const SavedInode& inode = saved.inodes[i];
    Napi::Object object = Napi::Object::New(env);
    object.Set("nodeid", Number(env, inode.nodeid));
    object.Set("lookups", Number(env, inode.lookups));
    if (!inode.path.empty()) object.Set("path", BufferOf(env, inode.path));
    if (!inode.handle.empty()) object.Set("handle", HandleObject(env, inode));
    inodes.Set(i, object);
  }
  Napi::Array handles = Napi::Array::New(env, saved.handles.size());
  for (uint32_t i = 0; i < saved.handles.size(); i++) {
    const Napi::HandleScope scope(env);
    const SavedHandle& handle = saved.handles[i];
    Napi::Object object = Napi::Object::New(env);
    object.Set("fh", Number(env, handle.fh));
    object.Set("nodeid", Number(env, handle.nodeid));
    object.Set("flags", Napi::Number::New(env, handle.flags));
    handles.Set(i, object);
  }
  Napi::Array mounts = Napi::Array::New(env);
  for (const auto& [mount, path] : saved.mount_paths) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("mount", Number(env, mount));
    object.Set("path", BufferOf(env, path));
    mounts.Set(mounts.Length(), object);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("inodes", inodes);
  result.Set("handles", handles);
  result.Set("mountPaths", mounts);
  result.Set("nextNodeid", Number(env, saved.next_nodeid));
  result.Set("nextFh", Number(env, saved.next_fh));
  result.Set("generation", Napi::Number::New(env, saved.generation));
  result.Set("searched", Number(env, saved.searched));
  result.Set("writeError", Napi::Number::New(env, saved.write_error));
  return result;
}

// --- of JavaScript's objects: wrong types are this program's own faults ---

uint64_t NumberIn(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= static_cast<double>(kMostExact)))
    throw Napi::RangeError::New(object.Env(), std::string(name) + " must be a number up to 2^53");
  return static_cast<uint64_t>(number);
}

std::string TextIn(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) return {};
  if (!value.IsBuffer())
    throw Napi::TypeError::New(object.Env(), std::string(name) + " must be a Buffer");
  const auto buffer = value.As<Napi::Buffer<char>>();
  return {buffer.Data(), buffer.Length()};
}

FileHandle HandleIn(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsObject()) return {};
  const auto handle = value.As<Napi::Object>();
  const std::string bytes =
      static_cast<char>(static_cast<uint8_t>(NumberIn(handle, "type"))) + TextIn(handle, "bytes");
  if (bytes.size() > FileHandle::kMaxBytes)
    throw Napi::RangeError::New(object.Env(), std::string(name) + " is too long");
  return FileHandle({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

template <typename Add>
void ForEachIn(const Napi::Object& object, const char* name, Add add) {
  const Napi::Value value = object.Get(name);
  if (!value.IsArray())
    throw Napi::TypeError::New(object.Env(), std::string(name) + " must be an array");
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) {
    const Napi::HandleScope scope(object.Env());
    add(array.Get(i).ToObject());
  }
}

RestoredDirectory RestoredIn(const Napi::Object& object) {
  RestoredDirectory state;
  ForEachIn(object, "inodes", [&](const Napi::Object& inode) {
    state.inodes.push_back({NumberIn(inode, "nodeid"), NumberIn(inode, "lookups"),
                            TextIn(inode, "path"), HandleIn(inode, "handle"),
                            HandleIn(inode, "expected")});
  });
  ForEachIn(object, "handles", [&](const Napi::Object& handle) {
    state.handles.push_back({NumberIn(handle, "fh"), NumberIn(handle, "nodeid"),
                             static_cast<int>(NumberIn(handle, "flags"))});
  });
  state.next_nodeid = NumberIn(object, "nextNodeid");
  state.next_fh = NumberIn(object, "nextFh");
  state.generation = static_cast<uint32_t>(NumberIn(object, "generation"));
  return state;
}

Napi::Array LostArray(Napi::Env env, const std::vector<Lost>& lost) {
  Napi::Array array = Napi::Array::New(env, lost.size());
  for (uint32_t i = 0; i < lost.size(); i++) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("id", Number(env, lost[i].id));
    object.Set("errno", Napi::Number::New(env, lost[i].error));
    array.Set(i, object);
  }
  return array;
}

// Works as a request of this moment, on a thread that may wait.
class SessionWorker : public Napi::AsyncWorker {
 public:
  SessionWorker(Napi::Env env, SharedDirectory& directory, std::shared_ptr<Device> device)
      : Napi::AsyncWorker(env), directory_(directory), device_(std::move(device)), deferred_(env) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  virtual void Work(SharedDirectory& directory) = 0;
  virtual Napi::Value Result(Napi::Env env) = 0;

  void Execute() override {
    if (device_ != nullptr) EnterSession(device_->sessions());
    Work(directory_);
    if (device_ != nullptr) LeaveSession(device_->sessions());
  }
  void OnOK() override { deferred_.Resolve(Result(Env())); }

 private:
  SharedDirectory& directory_;
  const std::shared_ptr<Device> device_;
  const Napi::Promise::Deferred deferred_;
};

class SaveWorker : public SessionWorker {
 public:
  SaveWorker(Napi::Env env, SharedDirectory& directory, std::shared_ptr<Device> device,
             const SaveWish& wish)
      : SessionWorker(env, directory, std::move(device)), wish_(wish) {}

 protected:
  void Work(SharedDirectory& directory) override { saved_ = SaveDirectory(directory, wish_); }
  Napi::Value Result(Napi::Env env) override { return SavedObject(env, saved_); }

 private:
  const SaveWish wish_;
  SavedDirectory saved_;
};

class RestoreWorker : public SessionWorker {
 public:
  RestoreWorker(Napi::Env env, SharedDirectory& directory, std::shared_ptr<Device> device,
                RestoredDirectory state)
      : SessionWorker(env, directory, std::move(device)), state_(std::move(state)) {}

 protected:
  void Work(SharedDirectory& directory) override { lost_ = RestoreDirectory(directory, state_); }
  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    result.Set("inodes", LostArray(env, lost_.inodes));
    result.Set("handles", LostArray(env, lost_.handles));
    return result;
  }

 private:
  const RestoredDirectory state_;
  LostParts lost_;
};

std::shared_ptr<Device> DeviceAt(const Napi::CallbackInfo& info, size_t index) {
  const int64_t device = IntegerArgument(info, index, "device", -1, UINT32_MAX);
  return device < 0 ? nullptr : Device::Find(static_cast<uint32_t>(device));
}

Napi::Promise Start(SessionWorker* worker) {
  const Napi::Promise promise = worker->promise();
  // Deletes itself.
  worker->Queue();
  return promise;
}

// saveDirectory(directory, device, paths, handles)
Napi::Value Save(const Napi::CallbackInfo& info) {
  return Start(
      new SaveWorker(info.Env(), DirectoryArgument(info, 0), DeviceAt(info, 1),
                     {BooleanArgument(info, 2, "paths"), BooleanArgument(info, 3, "handles")}));
}

// restoreDirectory(directory, device, state)
Napi::Value Restore(const Napi::CallbackInfo& info) {
  if (!info[2].IsObject()) throw Napi::TypeError::New(info.Env(), "state must be an object");
  return Start(new RestoreWorker(info.Env(), DirectoryArgument(info, 0), DeviceAt(info, 1),
                                 RestoredIn(info[2].As<Napi::Object>())));
}

}  // namespace

void InitMigration(Napi::Env env, Napi::Object exports) {
  exports.Set("saveDirectory", Napi::Function::New(env, Save));
  exports.Set("restoreDirectory", Napi::Function::New(env, Restore));
}

}  // namespace viewfsd
