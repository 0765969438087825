/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check is a function that returns 0, or says with fail() what was wrong. It runs in an empty directory of its own,
 * as root, with umask 022. Parts of it may run in a child with other ids: see become().
 */
#ifndef SEMANTICS_CHECK_H
#define SEMANTICS_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct check {
	const char *name;
	int (*run)(void);
};

struct class {
	const char *name;
	const struct check *checks;
	size_t count;
};

#define CLASS(identifier, title, ...)                                                                        \
	static const struct check identifier##_checks[] = {__VA_ARGS__};                                     \
	const struct class identifier##_class = {title, identifier##_checks,                                 \
						 sizeof(identifier##_checks) / sizeof(struct check)}

/*
 * What the file system is known to be, from the command line. A check asserts what follows from it; none is left out.
 *  fuse       Linux's FUSE client: no COLLAPSE_RANGE, INSERT_RANGE and UNSHARE_RANGE; its pages hide reads from the host
 *  dax        data goes through a DAX window, where no read and not every write is seen by whoever keeps the times
 *  acl        POSIX ACLs are on; without it the file system must refuse them
 *  writeback  the client collects writes, and its clock sets their times
 *  remote     locks are kept by the server
 *  killpriv-v2  the server clears set-id bits
 *  direct       the client keeps no data, and asks the server to clear set-id bits at writes
 *  no-zero-range, no-collapse-range   as on tmpfs; btrfs has no COLLAPSE_RANGE and INSERT_RANGE
 *  sparse-copies   copy_file_range keeps holes
 */
bool trait(const char *name);

__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);

#define MUST(expression)                                                                                     \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if (!(expression))                                                                           \
			return fail("%s:%d: %s: %s", __FILE_NAME__, __LINE__, #expression, strerror(errno)); \
	} while (0)

#define MUST_FAIL(expression, error)                                                                         \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if ((expression) >= 0)                                                                       \
			return fail("%s:%d: %s: succeeded, wanted " #error, __FILE_NAME__, __LINE__,         \
				    #expression);                                                            \
		if (errno != (error))                                                                        \
			return fail("%s:%d: %s: got %s, wanted " #error, __FILE_NAME__, __LINE__,            \
				    #expression, strerror(errno));                                           \
	} while (0)

#define MUST_BE(actual, expected)                                                                            \
	do {                                                                                                 \
		long long actual_ = (long long)(actual), expected_ = (long long)(expected);                  \
		if (actual_ != expected_)                                                                    \
			return fail("%s:%d: %s is %lld (0%llo), wanted %lld (0%llo)", __FILE_NAME__,         \
				    __LINE__, #actual, actual_, actual_, expected_, expected_);              \
	} while (0)

/* An ordinary user, its group, and a group for use as a supplementary one. */
enum { USER = 1000, GROUP_OF_USER = 1000, TEAM = 5000, STRANGER = 2000 };

/*
 * Forks; the child has these ids and goes on behind the call with 0. What it returns from the check ends it. `team`: it
 * is in TEAM besides.
 */
pid_t become(uid_t uid, gid_t gid, bool team);

/* Waits for such a child; what it said of its failure is the check's. */
bool passed(pid_t child);
#define JOIN(child)                                                                                          \
	do {                                                                                                 \
		if (!passed(child))                                                                          \
			return -1;                                                                           \
	} while (0)

/* Long enough that the clock of the file system, which moves with the timer's tick, has moved. */
void tick(void);

int make_file(const char *name, mode_t mode, const char *text);
bool holds(const char *name, const char *text);
struct stat status_of(const char *name);
mode_t mode_of(const char *name);

static inline long long nanoseconds(struct timespec time)
{
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

#endif
