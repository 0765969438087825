// SPDX-License-Identifier: Apache-2.0
// The export list of the tests' addon; index.ts declares what it exports.
#include <napi.h>

#include "testing/frontend.h"
#include "testing/ranges.h"

namespace viewfsd {

class TestingModule : public Napi::Addon<TestingModule> {
 public:
  TestingModule(Napi::Env env, Napi::Object exports) {
    InitTesting(env, exports);
    InitTestingRanges(env, exports);
  }
};

}  // namespace viewfsd

using ViewfsdTestingModule = viewfsd::TestingModule;
NODE_API_ADDON(ViewfsdTestingModule)
