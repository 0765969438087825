// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_BINDING_MIGRATION_EXPORTS_H_
#define VIEWFSD_BINDING_MIGRATION_EXPORTS_H_

#include <napi.h>

namespace viewfsd {

void InitMigration(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_BINDING_MIGRATION_EXPORTS_H_
