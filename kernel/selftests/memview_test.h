/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every selftest of the memory-view driver shares: a small TAP harness
 * (each test runs in a process of its own under a time limit), the errnos that
 * the driver promises, backing files whose pages say who they are, and reads
 * and writes that survive SIGBUS.
 */
#ifndef MEMVIEW_TEST_H
#define MEMVIEW_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../include/uapi/linux/memory_view.h"

#define DEVICE		"/dev/memory-view"
#define PAGE		4096UL
#define MIB		(1024UL * 1024)
#define GIB		(1024UL * MIB)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define RD		MEMVIEW_MAP_READ
#define WR		MEMVIEW_MAP_WRITE
#define EX		MEMVIEW_MAP_EXEC

/* Errnos that the driver promises. */
#define ERR_KIND	EOPNOTSUPP	/* a file that is not on the allow-list */
#define ERR_MODE	EACCES		/* fd opened without the needed mode */

/* ---- TAP ---------------------------------------------------------------- */

typedef void (*test_fn)(void);

void register_test(const char *name, test_fn fn, unsigned int limit_seconds,
		   bool each_fs);

/* One test; it fails after @secs seconds. */
#define TEST_LIMIT(name, secs)						\
	static void name(void);						\
	static void __attribute__((constructor)) register_##name(void)	\
	{								\
		register_test(#name, name, secs, false);		\
	}								\
	static void name(void)
#define TEST(name)	TEST_LIMIT(name, 30)

/* One test for each backing file system; see backing_*(). */
#define TEST_EACH_FS_LIMIT(name, secs)					\
	static void name(void);						\
	static void __attribute__((constructor)) register_##name(void)	\
	{								\
		register_test(#name, name, secs, true);			\
	}								\
	static void name(void)
#define TEST_EACH_FS(name)	TEST_EACH_FS_LIMIT(name, 30)

void fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test with a failure; may be used in any thread or child of it. */
#define FAIL(...)	fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			FAIL("%s (errno %d %s)", #cond, errno,		\
			     strerror(errno));				\
	} while (0)
#define CHECK_EQ(got, want)						\
	do {								\
		long long got_ = (long long)(got);			\
		long long want_ = (long long)(want);			\
									\
		if (got_ != want_)					\
			FAIL("%s is %lld (0x%llx), not %s = %lld (0x%llx)", \
			     #got, got_, got_, #want, want_, want_);	\
	} while (0)
/* @call returns 0 or more, or a negative errno. */
#define CHECK_ERR(call, err)						\
	do {								\
		long long got_ = (long long)(call);			\
									\
		if (got_ != -(err))					\
			FAIL("%s gave %lld (%s), not -%s", #call, got_,	\
			     got_ < 0 ? strerror((int)-got_) : "no error", \
			     #err);					\
	} while (0)
#define CHECK_OK(call)							\
	do {								\
		long long got_ = (long long)(call);			\
									\
		if (got_ < 0)						\
			FAIL("%s gave %lld (%s)", #call, got_,		\
			     strerror((int)-got_));			\
	} while (0)

/* Negative errno of a call that returns -1 on failure. */
static inline long sys(long ret)
{
	return ret == -1 ? -errno : ret;
}

/* ---- The driver's calls; all return a negative errno on failure. -------- */

int ctl_open(void);			/* fails the test if it can't */
int ctl_new(uint64_t size);		/* open + SET_SIZE, or fails the test */
int sink_view(uint64_t size);		/* ctl_new() with MEMVIEW_FAULT_SINK */
long set_size(int ctl, uint64_t size);
long map_fd(int ctl, int fd, uint64_t fd_offset, uint64_t size,
	    uint64_t mem_offset, uint64_t flags);
long unmap_fd(int ctl, uint64_t mem_offset, uint64_t size);
long unmap_fds(int ctl, const struct memview_range *ranges, uint32_t count);
struct memview_info get_info(int ctl);
/* MEMVIEW_GET_USE; fails the test if it can't. */
struct memview_use get_use(int ctl, uint64_t mem_offset, uint64_t size);
int get_viewfd(int ctl);		/* fails the test if it can't */
/* mmap of @size bytes of a fresh view fd; fails the test if it can't. */
void *view_mmap(int ctl, size_t size, int prot);

/* ---- Accesses that may fault -------------------------------------------- */

/* 0, or the signal (SIGBUS, SIGSEGV) that the access raised. */
int try_read(const volatile void *addr, uint64_t *value);
int try_write(volatile void *addr, uint64_t value);
/* Calls the code at @addr: int f(void). */
int try_call(void *addr, int *ret);
/* si_code and si_addr_lsb of the last signal that try_*() caught. */
extern __thread int fault_code;
extern __thread void *fault_addr;

uint64_t must_read(const volatile void *addr);
void must_write(volatile void *addr, uint64_t value);
void must_sigbus(const volatile void *addr);
void must_not_write(volatile void *addr);	/* SIGBUS or SIGSEGV */

#define AT(base, off)	((void *)((char *)(base) + (off)))

/* ---- Backing files ------------------------------------------------------ */

/*
 * The file system under test: "memfd", or a label of MEMVIEW_DIRS
 * ("ext4=/dir xfs=/dir ..."), set by the runner.
 */
const char *backing_fs(void);
bool backing_is(const char *fs);
/* Is memory all that it has: memfd, or a tmpfs? */
bool backing_in_memory(void);
/* Directory on the labelled file system; fails the test if it is missing. */
const char *fs_dir(const char *fs);
/* New file of @pages stamped pages (file @id) on the current file system. */
int backing_new(uint32_t id, unsigned int pages);
/* As backing_new() on the file system @fs ("memfd" too). */
int backing_new_on(const char *fs, uint32_t id, unsigned int pages);
/* Path of the file that backing_new() made last; "" for memfd. */
const char *backing_path(void);

/* First word of each page: who wrote it. */
static inline uint64_t stamp(uint32_t id, uint64_t page, uint32_t generation)
{
	return ((uint64_t)(id & 0xffff) << 48) | ((page & 0xffffff) << 24) |
	       (generation & 0xffffff);
}

void stamp_page(void *page, uint64_t value);
/* NULL, or what is wrong with a page that should carry @value throughout. */
void check_page(const void *page, uint64_t value, const char *what);

/* ---- Odds and ends ------------------------------------------------------ */

/* VMAs that overlap [addr, addr + size) in /proc/self/maps. */
unsigned int vma_count(const void *addr, size_t size);
/* "rw-s" of the VMA at @addr. */
void vma_perms(const void *addr, char perms[5]);
void write_file(const char *path, const char *text);	/* fails the test */
int try_write_file(const char *path, const char *text);	/* negative errno */
/*
 * How long the driver keeps files open that nothing shows (anchor_idle_ms). One
 * that has no such parameter closes them at once.
 */
void keep_unused_files(const char *ms);
void drop_caches(void);
/* Drops what is clean of one file; far cheaper than drop_caches(). */
void drop_file(int fd);
uint64_t now_ms(void);
/*
 * now_ms() when something that should take less than @ms must be taken to hang,
 * on this kernel.
 */
uint64_t deadline(unsigned int ms);
void sleep_ms(unsigned int ms);
/* Lets the calling thread get its turn beside ones that only spin. */
void run_first(void);
/* Frame number of the page mapped at @addr, 0 if none. */
uint64_t pfn_of(const void *addr);
/* Waits for @pid and fails the test unless it exits with @code within @secs. */
void wait_exit(pid_t pid, unsigned int secs, int code);
/* wait_exit() with code 0. */
void wait_child(pid_t pid, unsigned int secs);
/* Waits up to @secs for @pid; true and *status once it has ended. */
bool wait_ended(pid_t pid, unsigned int secs, int *status);
/* Creates a memory cgroup and moves the caller into it. */
const char *cgroup_enter(void);
/* Asks the caller's cgroup to give back @bytes; returns negative errno. */
int cgroup_reclaim(uint64_t bytes);
/* A pseudo random number; @state is the caller's. */
static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif /* MEMVIEW_TEST_H */
