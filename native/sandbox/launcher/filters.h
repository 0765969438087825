// SPDX-License-Identifier: Apache-2.0
// What the launcher's own processes may still ask of the kernel while a program runs. What a filter
// refuses fails with EPERM: it is as shut as one that ends the process, and a C library that has
// come to use another call must not cost a guest its file system. Need no_new_privs.
#ifndef VIEWFSD_LAUNCHER_FILTERS_H_
#define VIEWFSD_LAUNCHER_FILTERS_H_

namespace viewfsd {

// For who waits: signals, the end of children, messages on sockets that it has, and files that are
// to be removed at the end. It starts nothing and opens nothing.
void FilterWaiting();

// For who starts programs, and for these. It takes away what no program needs and CAP_SYS_ADMIN
// would allow; programs have a filter of their own besides.
void FilterStarting();

}  // namespace viewfsd

#endif  // VIEWFSD_LAUNCHER_FILTERS_H_
