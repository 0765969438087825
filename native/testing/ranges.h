// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_TESTING_RANGES_H_
#define VIEWFSD_TESTING_RANGES_H_

#include <napi.h>

namespace viewfsd {

// exports.TestingRanges: ShmemRanges alone, for a test against a model.
void InitTestingRanges(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_TESTING_RANGES_H_
