// SPDX-License-Identifier: Apache-2.0
// The `testing` object: see frontend.cc.
#ifndef VIEWFSD_TESTING_FRONTEND_H_
#define VIEWFSD_TESTING_FRONTEND_H_

#include <napi.h>

namespace viewfsd {

// Sets exports.testing.
void InitTesting(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_TESTING_FRONTEND_H_
