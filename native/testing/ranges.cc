// SPDX-License-Identifier: Apache-2.0
// ShmemRanges and MappedRanges for JavaScript; declared in ranges.ts.
#include "testing/ranges.h"

#include <vector>

#include "binding/arguments.h"
#include "window/mapped_ranges.h"
#include "window/shmem_ranges.h"

namespace viewfsd {
namespace {

class TestingRanges : public Napi::ObjectWrap<TestingRanges> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "TestingRanges",
        {InstanceMethod<&TestingRanges::Map>("map"), InstanceMethod<&TestingRanges::Unmap>("unmap"),
         InstanceMethod<&TestingRanges::Shows>("shows")});
  }
  explicit TestingRanges(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TestingRanges>(info) {}

 private:
  // Judges and, where the range is free, inserts. Returns the verdict.
  Napi::Value Map(const Napi::CallbackInfo& info) {
    const ShmemRange range = {OffsetArgument(info, 0, "moffset"),
                              OffsetArgument(info, 1, "length"),
                              1,
                              OffsetArgument(info, 2, "inode"),
                              OffsetArgument(info, 3, "foffset"),
                              BooleanArgument(info, 4, "writable")};
    const ShmemRanges::Verdict verdict = ranges_.Judge(range);
    if (verdict == ShmemRanges::Verdict::kMap) ranges_.Insert(range);
    const char* name = verdict == ShmemRanges::Verdict::kMap       ? "map"
                       : verdict == ShmemRanges::Verdict::kPresent ? "present"
                                                                   : "conflict";
    return Napi::String::New(info.Env(), name);
  }

  // Erases the mappings in the range. Returns how many, or -1 (and none) where one lies in it
  // partly.
  Napi::Value Unmap(const Napi::CallbackInfo& info) {
    std::vector<ShmemRange> covered;
    if (!ranges_.Covered(OffsetArgument(info, 0, "moffset"), OffsetArgument(info, 1, "length"),
                         &covered))
      return Napi::Number::New(info.Env(), -1);
    for (const ShmemRange& range : covered) ranges_.Erase(range.moffset);
    return Napi::Number::New(info.Env(), static_cast<double>(covered.size()));
  }

  Napi::Value Shows(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), ranges_.Shows(1, OffsetArgument(info, 0, "inode")));
  }

  ShmemRanges ranges_;
};

class TestingMappedRanges : public Napi::ObjectWrap<TestingMappedRanges> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "TestingMappedRanges",
                       {InstanceMethod<&TestingMappedRanges::Add>("add"),
                        InstanceMethod<&TestingMappedRanges::Remove>("remove"),
                        InstanceMethod<&TestingMappedRanges::WantedAgain>("wantedAgain"),
                        InstanceMethod<&TestingMappedRanges::From>("from")});
  }
  explicit TestingMappedRanges(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<TestingMappedRanges>(info) {}

 private:
  void Add(const Napi::CallbackInfo& info) {
    ranges_.Add(OffsetArgument(info, 0, "nodeid"),
                {OffsetArgument(info, 1, "moffset"), OffsetArgument(info, 2, "length"),
                 OffsetArgument(info, 3, "foffset")},
                BooleanArgument(info, 4, "writable"), OffsetArgument(info, 5, "windowSize"));
  }

  Napi::Value WantedAgain(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(ranges_.wanted_again()));
  }

  void Remove(const Napi::CallbackInfo& info) {
    ranges_.Remove({OffsetArgument(info, 0, "moffset"), OffsetArgument(info, 1, "length")});
  }

  Napi::Value From(const Napi::CallbackInfo& info) {
    Napi::Array result = Napi::Array::New(info.Env());
    for (const MappedRange& mapped :
         ranges_.From(OffsetArgument(info, 0, "moffset"), OffsetArgument(info, 1, "most"))) {
      Napi::Array one = Napi::Array::New(info.Env());
      for (const uint64_t value : {mapped.nodeid, mapped.range.moffset, mapped.range.length,
                                   mapped.range.foffset, uint64_t{mapped.writable}})
        one.Set(one.Length(), Napi::Number::New(info.Env(), static_cast<double>(value)));
      result.Set(result.Length(), one);
    }
    return result;
  }

  MappedRanges ranges_;
};

}  // namespace

void InitTestingRanges(Napi::Env env, Napi::Object exports) {
  exports.Set("TestingMappedRanges", TestingMappedRanges::Define(env));
  exports.Set("TestingRanges", TestingRanges::Define(env));
}

}  // namespace viewfsd
