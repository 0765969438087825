// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_TESTING_IO_URING_H_
#define VIEWFSD_TESTING_IO_URING_H_

#include <napi.h>

namespace viewfsd {

// exports.ringResult: what a restricted ring answers to an operation.
void InitTestingIoUring(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_TESTING_IO_URING_H_
