// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_BINDING_OPERATION_EXPORTS_H_
#define VIEWFSD_BINDING_OPERATION_EXPORTS_H_

#include <napi.h>

namespace viewfsd {

// exports.operations: see native/operations.ts.
void InitOperations(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_BINDING_OPERATION_EXPORTS_H_
