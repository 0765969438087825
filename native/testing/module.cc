// SPDX-License-Identifier: Apache-2.0
// The export list of the tests' addon: what the product's has (binding/module.cc), and what only
// tests need; index.ts declares that.
#include <napi.h>

#include "binding/exports.h"
#include "testing/counts.h"
#include "testing/frontend.h"
#include "testing/io_uring.h"
#include "testing/message_server.h"
#include "testing/ranges.h"
#include "testing/records.h"

namespace viewfsd {

class TestingModule : public Napi::Addon<TestingModule> {
 public:
  TestingModule(Napi::Env env, Napi::Object exports) {
    InitProduct(env, exports);
    InitTesting(env, exports);
    InitTestingCounts(env, exports);
    InitTestingRanges(env, exports);
    InitMessageServer(env, exports);
    InitTestingRecords(env, exports);
    InitTestingIoUring(env, exports);
  }
};

}  // namespace viewfsd

using ViewfsdTestingModule = viewfsd::TestingModule;
NODE_API_ADDON(ViewfsdTestingModule)
