// SPDX-License-Identifier: Apache-2.0
// An append that a server which has ended had begun: how much of it is in the file. A signal ends
// a write between two folios, so that it may be some of it.
#ifndef VIEWFSD_REPEATED_APPEND_H_
#define VIEWFSD_REPEATED_APPEND_H_

#include <cstdint>

#include "fuse/request.h"

namespace viewfsd {

// Notes where the file behind `fd` ends, in the request's journal, if it has one and has not noted
// it yet. Before the first byte is written.
void NoteEnd(int fd, const FuseRequest& request);

// How many bytes of the data of this WRITE, `size` of them, have been appended to the file that
// `fd` can read, since its end was noted: all of them, those up to the file's end, or none. Where
// somebody else has appended the same since, that can't be told apart.
uint64_t Appended(int fd, const FuseRequest& request, uint64_t size);

}  // namespace viewfsd

#endif  // VIEWFSD_REPEATED_APPEND_H_
