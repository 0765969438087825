// SPDX-License-Identifier: Apache-2.0
// A fuzzer's input as a script: read from front to back, zeros behind its end. Numbers that matter
// to the code are likelier than chance would have them.
#ifndef VIEWFSD_FUZZ_SCRIPT_H_
#define VIEWFSD_FUZZ_SCRIPT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace viewfsd::fuzz {

class Script {
 public:
  Script(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  bool done() const { return left_ == 0; }

  template <typename Number>
  Number Take() {
    Number number = 0;
    const size_t size = left_ < sizeof(number) ? left_ : sizeof(number);
    memcpy(&number, data_, size);
    data_ += size;
    left_ -= size;
    return number;
  }
  uint8_t Byte() { return Take<uint8_t>(); }
  // 0 to count - 1.
  uint32_t Pick(uint32_t count) { return Byte() % count; }

 private:
  const uint8_t* data_;
  size_t left_;
};

}  // namespace viewfsd::fuzz

#endif  // VIEWFSD_FUZZ_SCRIPT_H_
