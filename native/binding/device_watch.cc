// SPDX-License-Identifier: Apache-2.0
#include "binding/device_watch.h"

#include <cstdint>
#include <map>

namespace viewfsd {

namespace {

// JavaScript's numbers are exact up to 2^53.
Napi::Number Number(Napi::Env env, uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

}  // namespace

Napi::Value LatenciesOf(Napi::Env env, Device& device) {
  Napi::Array result = Napi::Array::New(env);
  for (uint32_t opcode = 0; opcode < FuseCounters::kOpcodes; opcode++) {
    Napi::Array buckets = Napi::Array::New(env, LatencyHistogram::kBuckets);
    uint64_t requests = 0, nanoseconds = 0;
    for (uint32_t i = 0; i < LatencyHistogram::kBuckets; i++) {
      uint64_t count = 0;
      for (const auto& worker : device.workers()) count += worker->latencies.of(opcode).bucket(i);
      buckets.Set(i, Number(env, count));
      requests += count;
    }
    if (requests == 0) continue;
    for (const auto& worker : device.workers()) nanoseconds += worker->latencies.of(opcode).sum();
    Napi::Object histogram = Napi::Object::New(env);
    histogram.Set("opcode", opcode);
    histogram.Set("buckets", buckets);
    histogram.Set("nanoseconds", Number(env, nanoseconds));
    result.Set(result.Length(), histogram);
  }
  return result;
}

Napi::Value HotInodesOf(Napi::Env env, Device& device) {
  std::map<uint64_t, uint64_t> requests;
  for (const auto& worker : device.workers())
    for (const HotInodes::Place& place : worker->hot.places())
      if (const uint64_t nodeid = place.nodeid.load(std::memory_order_relaxed); nodeid != 0)
        requests[nodeid] += place.requests.load(std::memory_order_relaxed);
  Napi::Array result = Napi::Array::New(env);
  for (const auto& [nodeid, count] : requests) {
    Napi::Object inode = Napi::Object::New(env);
    inode.Set("nodeid", Number(env, nodeid));
    inode.Set("requests", Number(env, count));
    result.Set(result.Length(), inode);
  }
  return result;
}

}  // namespace viewfsd
