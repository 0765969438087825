// SPDX-License-Identifier: Apache-2.0
// The arguments of one operation as JavaScript hands them over: native/file-request.ts. What leaves
// an array, or is no number of its kind, is the caller's bug and throws; all that a guest can get
// wrong comes back as -errno.
#ifndef VIEWFSD_BINDING_FILE_REQUEST_H_
#define VIEWFSD_BINDING_FILE_REQUEST_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>

#include "binding/arguments.h"
#include "host/shared_directory.h"

namespace viewfsd {

class FileRequest {
 public:
  // In the order of Field of native/file-request.ts, which says what they are.
  enum Field : size_t {
    kDirectory,
    kNodeid,
    kFh,
    kNameOffset,
    kNameLength,
    kSecondOffset,
    kSecondLength,
    kOtherNodeid,
    kFlags,
    kOffset,
    kLength,
    kType,
    kOwnerLow,
    kOwnerHigh,
    kMask,
    kCommand,
    kKillSuidgid,
    kIsDirectory,
    kHideAcls,
    kReplyOffset,
    kReplySize,
    kFields,
  };

  // (record, bytes, reply); valid until the call returns.
  explicit FileRequest(const Napi::CallbackInfo& info);

  SharedDirectory& directory() const { return directory_; }
  uint64_t nodeid() const { return U64(kNodeid); }
  uint64_t fh() const { return U64(kFh); }

  uint32_t U32(Field field) const;
  bool Flag(Field field) const { return record_[field] != 0; }
  int Int(Field field) const { return static_cast<int>(U32(field)); }
  // A u64 of the guest's, where only small ones mean anything: a nodeid, an fh, a count. What is
  // too large to be exact becomes UINT64_MAX.
  uint64_t U64(Field field) const;
  // As far as an int64_t goes.
  int64_t I64(Field field) const;

  // A range by the field of its offset, behind which its length stands.
  Bytes Range(Field offset) const { return RangeOf(offset, 0); }
  // A name, or null for one that can't be a component.
  const char* Component(Field offset) const;
  // A string of any bytes but NUL, or null.
  const char* Text(Field offset) const;

  // Room for a struct of `size` bytes, which need not be aligned.
  uint8_t* Reply(size_t size) const;
  // All the room.
  Bytes ReplyRoom() const;

 private:
  Bytes RangeOf(Field offset, size_t behind) const;
  // An offset or a length.
  size_t Place(Field field) const;

  const Napi::Env env_;
  const double* const record_;
  const Bytes bytes_;
  const Bytes reply_;
  SharedDirectory& directory_;
};

}  // namespace viewfsd

#endif  // VIEWFSD_BINDING_FILE_REQUEST_H_
