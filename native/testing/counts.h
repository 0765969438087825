// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_TESTING_COUNTS_H_
#define VIEWFSD_TESTING_COUNTS_H_

#include <napi.h>

namespace viewfsd {

// exports.counts: what shared directories keep, so that tests see what is left behind.
void InitTestingCounts(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_TESTING_COUNTS_H_
