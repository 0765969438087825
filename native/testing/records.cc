// SPDX-License-Identifier: Apache-2.0
// RecordPool and RecordIndex for JavaScript; declared in records.ts.
#include "testing/records.h"

#include <new>

#include "binding/arguments.h"
#include "host/record_index.h"
#include "host/record_pool.h"
#include "host/table_memory.h"

namespace viewfsd {
namespace {

struct Record {
  uint64_t key = 0;
  uint32_t next = 0;
  uint8_t rest[52] = {};
};

struct ByKey {
  // So that there are chains.
  static uint64_t Hash(uint64_t key) { return key / 3; }
  static uint64_t HashOf(const Record& record) { return Hash(record.key); }
  static bool Has(const Record& record, uint64_t key) { return record.key == key; }
  static uint32_t& Next(Record& record) { return record.next; }
};

using Index = RecordIndex<Record, ByKey>;

class TestingRecords : public Napi::ObjectWrap<TestingRecords> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "TestingRecords",
                       {InstanceMethod<&TestingRecords::Insert>("insert"),
                        InstanceMethod<&TestingRecords::Erase>("erase"),
                        InstanceMethod<&TestingRecords::Find>("find"),
                        InstanceMethod<&TestingRecords::Keys>("keys")});
  }
  explicit TestingRecords(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<TestingRecords>(info),
        count_(OffsetArgument(info, 0, "count")),
        memory_(RecordPool<Record>::BytesFor(count_) + Index::BytesFor(count_)),
        records_(memory_, count_),
        index_(memory_, records_, count_) {}

 private:
  Napi::Value Number(const Napi::CallbackInfo& info, uint32_t number) {
    return Napi::Number::New(info.Env(), number);
  }

  Napi::Value Insert(const Napi::CallbackInfo& info) {
    const uint32_t index = records_.Take();
    if (index == 0) return Number(info, 0);
    new (&records_[index]) Record{.key = OffsetArgument(info, 0, "key")};
    index_.Insert(index);
    return Number(info, index);
  }

  Napi::Value Erase(const Napi::CallbackInfo& info) {
    const uint32_t index = index_.Find(OffsetArgument(info, 0, "key"));
    if (index == 0) return Number(info, 0);
    index_.Erase(index);
    records_.Give(index);
    return Number(info, index);
  }

  Napi::Value Find(const Napi::CallbackInfo& info) {
    return Number(info, index_.Find(OffsetArgument(info, 0, "key")));
  }

  Napi::Value Keys(const Napi::CallbackInfo& info) {
    const Napi::Array keys = Napi::Array::New(info.Env());
    records_.ForEach(
        [&](uint32_t index) { keys.Set(keys.Length(), static_cast<double>(records_[index].key)); });
    return keys;
  }

  const size_t count_;
  TableMemory memory_;
  RecordPool<Record> records_;
  Index index_;
};

}  // namespace

void InitTestingRecords(Napi::Env env, Napi::Object exports) {
  exports.Set("TestingRecords", TestingRecords::Define(env));
}

}  // namespace viewfsd
