// SPDX-License-Identifier: Apache-2.0
// The calling thread serves a request that a server which has ended had begun, and may have carried
// out: how it is told whether it did, for requests that can't be carried out twice. Where somebody
// else has done the same to the same name since, that can't be told apart, and the guest is told
// that its request has succeeded.
#ifndef VIEWFSD_REPEATED_H_
#define VIEWFSD_REPEATED_H_

#include <sys/types.h>

#include <cstdint>

#include "host/inode_table.h"

namespace viewfsd {

constexpr int64_t kNotRepeated = -1;

// `begun`: a time before that (CLOCK_REALTIME as of the last tick, nanoseconds); 0: it has not been
// begun; or kNotRepeated.
void SetRepeated(int64_t begun);
// Whether the request may have been carried out.
bool IsRepeated();
// CLOCK_REALTIME as of the last tick, which files are stamped with, too.
int64_t RealtimeNow();

// What a call that makes `name` has returned, with errno; 0 where it is there because it was made
// for this request before: since then, and of this type (S_IF*). -errno otherwise.
int64_t Made(int result, int directory, const char* name, mode_t type);
// The same for a new name of the inode behind `fd`.
int64_t Linked(int result, int directory, const char* name, int fd);
// Whether a rename by renameat2 with these flags has been done.
bool Renamed(int from, const char* name, int to, const char* new_name, uint32_t flags);

}  // namespace viewfsd

#endif  // VIEWFSD_REPEATED_H_
