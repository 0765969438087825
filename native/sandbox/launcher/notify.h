// SPDX-License-Identifier: Apache-2.0
// sd_notify(3) for a service manager, to which the launcher is the main process.
#ifndef VIEWFSD_LAUNCHER_NOTIFY_H_
#define VIEWFSD_LAUNCHER_NOTIFY_H_

namespace viewfsd {

// Connects to NOTIFY_SOCKET, if there is one, and takes the variable from the program. To be called
// while the host's files are there.
void OpenNotifySocket();

// Lines such as "READY=1"; without effect where nobody wants to know.
void Notify(const char* state);

// Leaves that to the process that this one comes of.
void CloseNotifySocket();

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_NOTIFY_H_
