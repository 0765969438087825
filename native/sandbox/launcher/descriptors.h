// SPDX-License-Identifier: Apache-2.0
// The conversation between launcher and program: one SOCK_SEQPACKET pair, single-byte messages.
#ifndef VIEWFSD_LAUNCHER_DESCRIPTORS_H_
#define VIEWFSD_LAUNCHER_DESCRIPTORS_H_

#include "util/unique_fd.h"

namespace viewfsd {

// launcher to its child: the user namespace is ready
constexpr char kGo = 'g';
// child to launcher: the shared directory's descriptor comes along
constexpr char kPrepared = 'p';
// program to launcher: change the root directory now. The answer is an errno, 0 for
// success.
constexpr char kCloseDoors = 'c';
// server to first process: it has all that its predecessor had
constexpr char kTaken = 't';
// server to first process: as SIGHUP
constexpr char kUpgrade = 'u';

// Both ends of a SOCK_SEQPACKET pair.
struct ControlPair {
  UniqueFd launcher;
  UniqueFd program;
};
ControlPair MakeControlPair();

void SendByte(int socket, char byte, int fd = -1);
// The byte, or -1 at the end. A descriptor that came along is put into `fd`.
int ReceiveByte(int socket, UniqueFd* fd);

// Keeps a descriptor open across execve.
void Inherit(int fd);

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_DESCRIPTORS_H_
