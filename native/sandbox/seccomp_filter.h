// SPDX-License-Identifier: Apache-2.0
// Makes a seccomp filter of the rules and puts it on every thread of the process.
#ifndef VIEWFSD_SECCOMP_FILTER_H_
#define VIEWFSD_SECCOMP_FILTER_H_

namespace viewfsd {

// What happens to a system call that is not on the list.
enum class SeccompAction { kKill, kLog, kTrap };

// For the whole process, with threads that exist and that will: all or none. Needs no_new_privs.
// Returns 0; -errno; or the id of a thread that can't take the filter, because it has another one.
int InstallSeccompFilter(SeccompAction action);

}  // namespace viewfsd

#endif  // VIEWFSD_SECCOMP_FILTER_H_
