// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_TESTING_RECORDS_H_
#define VIEWFSD_TESTING_RECORDS_H_

#include <napi.h>

namespace viewfsd {

// exports.TestingRecords: a pool of records and its index, for a test against a model.
void InitTestingRecords(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_TESTING_RECORDS_H_
