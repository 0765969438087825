// SPDX-License-Identifier: Apache-2.0
// The memory-view driver's calls for JavaScript; declared in native/memory-view.ts.
#include "binding/memory_view.h"

#include <fcntl.h>
#include <linux/memory_view.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "binding/arguments.h"
#include "binding/errno_error.h"
#include "util/probes.h"
#include "util/unique_fd.h"
#include "window/view_ioctl.h"

namespace viewfsd {
namespace {

class MemoryView : public Napi::ObjectWrap<MemoryView> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "MemoryView",
        {InstanceAccessor<&MemoryView::Fd>("fd"), InstanceMethod<&MemoryView::SetSize>("setSize"),
         InstanceMethod<&MemoryView::SetFaultPolicy>("setFaultPolicy"),
         InstanceMethod<&MemoryView::Map>("map"), InstanceMethod<&MemoryView::Unmap>("unmap"),
         InstanceMethod<&MemoryView::UnmapMany>("unmapMany"),
         InstanceMethod<&MemoryView::ViewFd>("viewFd"), InstanceMethod<&MemoryView::Info>("info"),
         InstanceMethod<&MemoryView::Close>("close")});
  }

  // A path opens the device; a number is the control fd of a view that someone else owns.
  explicit MemoryView(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MemoryView>(info) {
    if (info[0].IsNumber()) {
      fd_ = FdArgument(info, 0);
      return;
    }
    const std::string path = StringArgument(info, 0, "path");
    owned_.reset(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!owned_.valid()) throw ErrnoError(info.Env(), errno, "open", path);
    fd_ = owned_.get();
  }

 private:
  int Fd(const Napi::CallbackInfo& info, bool) const {
    if (fd_ < 0) throw Napi::Error::New(info.Env(), "the memory view is closed");
    return fd_;
  }

  Napi::Value Fd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), fd_); }

  Napi::Value SetSize(const Napi::CallbackInfo& info) {
    __u64 size = OffsetArgument(info, 0, "size");
    return Napi::Number::New(info.Env(), ViewIoctl(Fd(info, true), MEMVIEW_SET_SIZE, &size));
  }

  Napi::Value SetFaultPolicy(const Napi::CallbackInfo& info) {
    __u64 policy = OffsetArgument(info, 0, "policy");
    const int result = ViewIoctl(Fd(info, true), MEMVIEW_SET_FAULT_POLICY, &policy);
    VIEWFSD_PROBE2(fault_policy, policy, static_cast<int64_t>(result));
    return Napi::Number::New(info.Env(), result);
  }

  Napi::Value Map(const Napi::CallbackInfo& info) {
    memview_map_fd_info map = {};
    map.mem_offset = OffsetArgument(info, 0, "memOffset");
    map.size = OffsetArgument(info, 1, "size");
    map.fd = FdArgument(info, 2);
    map.fd_offset = OffsetArgument(info, 3, "fdOffset");
    map.flags = OffsetArgument(info, 4, "flags");
    return Napi::Number::New(info.Env(), ViewIoctl(Fd(info, true), MEMVIEW_MAP_FD, &map));
  }

  Napi::Value Unmap(const Napi::CallbackInfo& info) {
    memview_unmap unmap = {};
    unmap.range.mem_offset = OffsetArgument(info, 0, "memOffset");
    unmap.range.size = OffsetArgument(info, 1, "size");
    return Napi::Number::New(info.Env(), ViewIoctl(Fd(info, true), MEMVIEW_UNMAP_FD, &unmap));
  }

  Napi::Value UnmapMany(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() ||
        info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
      throw Napi::TypeError::New(env, "ranges must be a Float64Array");
    Napi::Float64Array ranges = info[0].As<Napi::Float64Array>();
    const auto count = static_cast<size_t>(
        IntegerArgument(info, 1, "count", 0, static_cast<int64_t>(ranges.ElementLength() / 2)));
    const int fd = Fd(info, true);
    memview_range batch[MEMVIEW_UNMAP_MAX];
    for (size_t done = 0; done < count;) {
      const size_t size = std::min<size_t>(count - done, MEMVIEW_UNMAP_MAX);
      for (size_t i = 0; i < size; i++) {
        const double offset = ranges[2 * (done + i)];
        const double length = ranges[2 * (done + i) + 1];
        // Written so that NaN fails too.
        if (!(offset >= 0 && offset < 9e15 && length > 0 && length < 9e15))
          return Napi::Number::New(env, -EINVAL);
        batch[i] = {static_cast<__u64>(offset), static_cast<__u64>(length)};
      }
      memview_unmap_batch request = {reinterpret_cast<__u64>(batch), static_cast<__u32>(size), 0};
      const int result = ViewIoctl(fd, MEMVIEW_UNMAP_FDS, &request);
      if (result < 0) return Napi::Number::New(env, result);
      done += size;
    }
    return Napi::Number::New(env, 0);
  }

  Napi::Value ViewFd(const Napi::CallbackInfo& info) {
    const int result = ViewIoctl(Fd(info, true), MEMVIEW_GET_VIEWFD, nullptr);
    if (result < 0) throw ErrnoError(info.Env(), -result, "ioctl(MEMVIEW_GET_VIEWFD)");
    return Napi::Number::New(info.Env(), result);
  }

  Napi::Value Info(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    memview_info view = {};
    const int result = ViewIoctl(Fd(info, true), MEMVIEW_GET_INFO, &view);
    if (result < 0) throw ErrnoError(env, -result, "ioctl(MEMVIEW_GET_INFO)");
    Napi::Object object = Napi::Object::New(env);
    const auto set = [&](const char* name, uint64_t value) {
      object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
    };
    set("abiVersion", view.abi_version);
    set("granularity", view.granularity);
    set("size", view.size);
    set("segments", view.segments);
    set("maps", view.maps);
    set("unmaps", view.unmaps);
    set("faults", view.faults);
    set("zaps", view.zaps);
    set("retries", view.retries);
    set("faultPolicy", view.fault_policy);
    set("sinkPages", view.sink_pages);
    set("sinks", view.sinks);
    set("readErrors", view.read_errors);
    set("lostWrites", view.lost_writes);
    set("lostOffset", view.lost_offset);
    return object;
  }

  void Close(const Napi::CallbackInfo&) {
    owned_.reset();
    fd_ = -1;
  }

  UniqueFd owned_;
  int fd_ = -1;
};

}  // namespace

void InitMemoryView(Napi::Env env, Napi::Object exports) {
  exports.Set("MemoryView", MemoryView::Define(env));
  exports.Set("memoryViewAbiVersion", Napi::Number::New(env, MEMVIEW_ABI_VERSION));
}

}  // namespace viewfsd
