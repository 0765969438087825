// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_VIEW_RANGES_EXPORTS_H_
#define VIEWFSD_VIEW_RANGES_EXPORTS_H_

#include <napi.h>

namespace viewfsd {

// exports.viewRanges, declared in native/view-ranges.ts.
void InitViewRanges(Napi::Env env, Napi::Object exports);

}  // namespace viewfsd

#endif  // VIEWFSD_VIEW_RANGES_EXPORTS_H_
