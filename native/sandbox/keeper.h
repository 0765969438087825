// SPDX-License-Identifier: Apache-2.0
// A server's keeper: a process that shares the server's table of descriptors (CLONE_FILES) and
// nothing else, so that it still has all of them when the server has been killed, also those that
// were opened later, at no cost to a request. It waits for the server's successor, hands it the
// descriptors that it asks for by their numbers, and ends with their channel. It has a memory of
// its own: what runs out of memory takes all with it that share one. It has no capabilities, and
// its filter leaves it messages on that channel, looking whether a descriptor is open, and its end.
#ifndef VIEWFSD_KEEPER_H_
#define VIEWFSD_KEEPER_H_

#include <cstddef>
#include <vector>

namespace viewfsd {

// Numbers below it are a process's own; those of descriptors that a successor gets are not.
constexpr int kFirstKept = 256;

// Starts the calling process's keeper, before the process has its filter. `channel`: a
// SOCK_SEQPACKET socket whose other end is the successor's; it has to stay open. Returns the
// keeper's id or -errno.
int StartKeeper(int channel);

// The keeper's part of one exchange with the successor, which may be anybody: waits for numbers of
// descriptors, and sends those that there are. False: the channel has come to its end.
bool AnswerSuccessor(int channel);

// Takes all numbers below kFirstKept that are free, so that descriptors that are opened from now on
// have others. Returns 0 or -errno.
int ReserveOwnNumbers();

// Opens what the placeholders are made of, while files of the host can be opened. Returns 0 or
// -errno.
int PrepareOwnNumbers();

// A copy of a descriptor of the process's own, below kFirstKept where it can be. -1 with errno.
int DuplicateOwn(int fd);

// Gets these descriptors of a predecessor, as the same numbers. Those that it has not, and numbers
// that are taken or below kFirstKept, are left out. After ReserveOwnNumbers. Returns 0, or -errno
// where the keeper can't be reached.
int TakeDescriptors(int channel, const std::vector<int>& numbers);

// Closes the channel, by which the keeper and all that it holds come to their end. Its number is
// not free for others. -1: there is none.
void LeaveKeeper(int channel);

}  // namespace viewfsd

#endif  // VIEWFSD_KEEPER_H_
