// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_FUZZ_CHECK_H_
#define VIEWFSD_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>

// What must hold whatever the guest does. The abort is the fuzzer's finding.
#define FUZZ_CHECK(condition)                                                 \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                \
    }                                                                         \
  } while (false)

#endif  // VIEWFSD_FUZZ_CHECK_H_
