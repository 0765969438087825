// SPDX-License-Identifier: Apache-2.0
#ifndef VIEWFSD_BENCH_FAIL_H_
#define VIEWFSD_BENCH_FAIL_H_

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace viewfsd::bench {

// Ends the program: what can't be done can't be measured.
[[noreturn]] inline void Fail(const std::string& what, int error = errno) {
  fprintf(stderr, "%s: %s\n", what.c_str(), strerror(error));
  // No destructor runs, and no thread is waited for.
  _Exit(1);
}

}  // namespace viewfsd::bench

#endif  // VIEWFSD_BENCH_FAIL_H_
