// SPDX-License-Identifier: Apache-2.0
/* Which of atime, mtime and ctime moves when. Only the order of times is looked at, never a length of time. */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>

enum { MOVED_ATIME = 1, MOVED_MTIME = 2, MOVED_CTIME = 4, DATA = MOVED_MTIME | MOVED_CTIME };

/* Which times have moved on since; a time that went back is none of these and fails the caller's comparison. */
static int moved(const struct stat *before, const char *name)
{
	struct stat now = status_of(name);
	int changed = 0;
	if (nanoseconds(now.st_atim) != nanoseconds(before->st_atim))
		changed |= nanoseconds(now.st_atim) > nanoseconds(before->st_atim) ? MOVED_ATIME : 8;
	if (nanoseconds(now.st_mtim) != nanoseconds(before->st_mtim))
		changed |= nanoseconds(now.st_mtim) > nanoseconds(before->st_mtim) ? MOVED_MTIME : 16;
	if (nanoseconds(now.st_ctim) != nanoseconds(before->st_ctim))
		changed |= nanoseconds(now.st_ctim) > nanoseconds(before->st_ctim) ? MOVED_CTIME : 32;
	return changed;
}

#define MOVES(action, name, expected)                                                                        \
	do {                                                                                                 \
		struct stat before_ = status_of(name);                                                       \
		tick();                                                                                      \
		MUST(action);                                                                                \
		int moved_ = moved(&before_, name);                                                          \
		if ((moved_ & ~MOVED_ATIME) != (expected))                                                         \
			return fail("%s:%d: %s moves times %d of %s, wanted %d", __FILE_NAME__, __LINE__,    \
				    #action, moved_, name, expected);                                        \
	} while (0)

static int of_data(void)
{
	MUST(make_file("file", 0644, "text") == 0);
	int fd = open("file", O_RDWR);
	/* Over data that the DAX window shows, only the host's kernel can see a write, and only the first. */
	if (!trait("dax"))
		MOVES(pwrite(fd, "TEXT", 4, 0) == 4, "file", DATA);
	MOVES(pwrite(fd, "more", 4, 4) == 4, "file", DATA);
	MOVES(ftruncate(fd, 2) == 0, "file", DATA);
	MOVES(ftruncate(fd, 2) == 0, "file", DATA);
	MOVES(ftruncate(fd, 9000) == 0, "file", DATA);
	MOVES(fallocate(fd, 0, 0, 20000) == 0, "file", DATA);
	MOVES(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0, "file", DATA);
	MOVES(open("file", O_WRONLY | O_TRUNC) >= 0, "file", DATA);
	MOVES(pwrite(fd, "", 0, 0) == 0, "file", 0);
	MOVES(open("file", O_RDWR) >= 0, "file", 0);
	int source = open("source", O_RDWR | O_CREAT, 0644);
	MUST(write(source, "data", 4) == 4);
	MOVES(copy_file_range(source, &(loff_t){0}, fd, &(loff_t){0}, 4, 0) == 4, "file", DATA);
	return 0;
}

static int of_mappings(void)
{
	MUST(make_file("file", 0644, "text") == 0);
	int fd = open("file", O_RDWR);
	struct stat before = status_of("file");
	tick();
	char *map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
	map[0] = 'm';
	MUST(msync(map, 4, MS_SYNC) == 0 && munmap(map, 4) == 0 && fsync(fd) == 0);
	/* Behind a DAX window the host's kernel marks the file; the guest sees it once it asks again. */
	if (!trait("dax"))
		MUST_BE(moved(&before, "file") & ~MOVED_ATIME, DATA);
	return 0;
}

static int of_attributes(void)
{
	MUST(make_file("file", 0644, "text") == 0);
	MOVES(chmod("file", 0600) == 0, "file", MOVED_CTIME);
	MOVES(chmod("file", 0600) == 0, "file", MOVED_CTIME);
	MOVES(chown("file", USER, TEAM) == 0, "file", MOVED_CTIME);
	MOVES(setxattr("file", "user.x", "1", 1, 0) == 0, "file", MOVED_CTIME);
	MOVES(removexattr("file", "user.x") == 0, "file", MOVED_CTIME);
	const struct timespec given[2] = {{1000, 1}, {2000, 2}};
	struct stat before = status_of("file");
	tick();
	MUST(utimensat(AT_FDCWD, "file", given, 0) == 0);
	struct stat after = status_of("file");
	MUST(nanoseconds(after.st_ctim) > nanoseconds(before.st_ctim));
	MUST(nanoseconds(after.st_atim) == nanoseconds(given[0]) && nanoseconds(after.st_mtim) == nanoseconds(given[1]));
	return 0;
}

static int of_names(void)
{
	MUST(make_file("file", 0644, "text") == 0 && mkdir("dir", 0755) == 0 && mkdir("other", 0755) == 0);
	MOVES(link("file", "dir/hard") == 0, "file", MOVED_CTIME);
	MOVES(unlink("dir/hard") == 0, "file", MOVED_CTIME);
	MOVES(rename("file", "moved") == 0 && rename("moved", "file") == 0, "file", MOVED_CTIME);
	MOVES(make_file("dir/new", 0644, "") == 0, "dir", DATA);
	MOVES(rename("dir/new", "dir/newer") == 0, "dir", DATA);
	MOVES(link("dir/newer", "dir/link") == 0, "dir", DATA);
	MOVES(unlink("dir/link") == 0, "dir", DATA);
	MOVES(symlink("x", "dir/soft") == 0, "dir", DATA);
	MOVES(mkdir("dir/sub", 0755) == 0, "dir", DATA);
	MOVES(rmdir("dir/sub") == 0, "dir", DATA);
	MOVES(mkfifo("dir/fifo", 0644) == 0, "dir", DATA);
	MOVES(rename("dir/fifo", "other/fifo") == 0, "dir", DATA);
	MOVES(rename("other/fifo", "dir/fifo") == 0, "other", DATA);
	MOVES(open("dir", O_TMPFILE | O_RDWR, 0600) >= 0, "dir", 0);
	MOVES(access("dir/none", F_OK) < 0, "dir", 0);
	/* What fails leaves no trace. */
	MOVES(mkdir("dir/fifo", 0755) < 0 && rmdir("dir/fifo") < 0 && unlink("dir/none") < 0, "dir", 0);
	return 0;
}

static int setting(void)
{
	static const struct timespec times[][2] = {
	    {{1000000000, 123456789}, {1500000000, 987654321}},
	    {{-5, 999999999}, {-1, 1}},
	    {{0, 0}, {0, 0}},
	    {{4294967296 + 5, 5}, {5000000000, 6}},
	};
	MUST(make_file("file", 0644, "x") == 0 && symlink("file", "link") == 0 && mkdir("dir", 0755) == 0);
	static const char *const names[] = {"file", "dir", "link"};
	for (size_t name = 0; name < 3; name++)
		for (size_t index = 0; index < 4; index++) {
			MUST(utimensat(AT_FDCWD, names[name], times[index], AT_SYMLINK_NOFOLLOW) == 0);
			MUST_BE(nanoseconds(status_of(names[name]).st_atim), nanoseconds(times[index][0]));
			MUST_BE(nanoseconds(status_of(names[name]).st_mtim), nanoseconds(times[index][1]));
		}
	const struct timespec only_mtime[2] = {{0, UTIME_OMIT}, {77, 7}}, only_atime[2] = {{66, 6}, {0, UTIME_OMIT}};
	MUST(utimensat(AT_FDCWD, "file", only_mtime, 0) == 0 && utimensat(AT_FDCWD, "file", only_atime, 0) == 0);
	MUST_BE(nanoseconds(status_of("file").st_atim), nanoseconds(only_atime[0]));
	MUST_BE(nanoseconds(status_of("file").st_mtim), nanoseconds(only_mtime[1]));
	const struct timespec nothing[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
	MOVES(utimensat(AT_FDCWD, "file", nothing, 0) == 0, "file", 0);
	const struct timespec now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
	MUST(utimensat(AT_FDCWD, "file", now, 0) == 0);
	MUST_BE(nanoseconds(status_of("file").st_atim), nanoseconds(only_atime[0]));
	MUST(status_of("file").st_mtim.tv_sec > 1000000000);
	/* A descriptor that can't write does. */
	int fd = open("file", O_RDONLY);
	MUST(futimens(fd, only_mtime) == 0);
	MUST_BE(nanoseconds(status_of("file").st_mtim), nanoseconds(only_mtime[1]));
	/* Set times stay while the descriptor that wrote is closed. */
	fd = open("file", O_WRONLY);
	MUST(write(fd, "y", 1) == 1 && futimens(fd, only_mtime) == 0 && close(fd) == 0);
	MUST_BE(nanoseconds(status_of("file").st_mtim), nanoseconds(only_mtime[1]));
	return 0;
}

static int of_reads(void)
{
	MUST(make_file("file", 0644, "text") == 0);
	const struct timespec old[2] = {{1000, 0}, {2000, 0}};
	MUST(utimensat(AT_FDCWD, "file", old, 0) == 0);
	int fd = open("file", O_RDONLY);
	char text[4];
	MUST(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	MUST(pread(fd, text, 4, 0) == 4);
	struct stat after = status_of("file");
	/* relatime: an atime that is not later than the mtime moves. What a DAX window shows is not seen to be read. */
	if (!trait("dax"))
		MUST(nanoseconds(after.st_atim) > nanoseconds(old[0]));
	MUST_BE(nanoseconds(after.st_mtim), nanoseconds(old[1]));
	return 0;
}

static int birth(void)
{
	struct statx first, second;
	MUST(make_file("file", 0644, "text") == 0);
	MUST(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS | STATX_BTIME, &first) == 0);
	MUST((first.stx_mask & STATX_BTIME) != 0 && first.stx_btime.tv_sec > 1000000000);
	tick();
	const struct timespec old[2] = {{1000, 0}, {2000, 0}};
	MUST(chmod("file", 0600) == 0 && truncate("file", 0) == 0 && rename("file", "moved") == 0);
	MUST(utimensat(AT_FDCWD, "moved", old, 0) == 0);
	MUST(statx(AT_FDCWD, "moved", 0, STATX_BASIC_STATS | STATX_BTIME, &second) == 0);
	MUST(first.stx_btime.tv_sec == second.stx_btime.tv_sec && first.stx_btime.tv_nsec == second.stx_btime.tv_nsec);
	MUST(second.stx_mtime.tv_sec == 2000 && second.stx_size == 0);
	MUST(trait("writeback") || second.stx_ctime.tv_sec >= first.stx_btime.tv_sec);
	/* Birth alone, by descriptor, and of other kinds. */
	int fd = open("moved", O_RDONLY);
	MUST(statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &second) == 0 && (second.stx_mask & STATX_BTIME) != 0);
	MUST(first.stx_btime.tv_sec == second.stx_btime.tv_sec && first.stx_btime.tv_nsec == second.stx_btime.tv_nsec);
	MUST(mkdir("dir", 0755) == 0 && symlink("x", "link") == 0);
	MUST(statx(AT_FDCWD, "dir", 0, STATX_BTIME, &second) == 0 && (second.stx_mask & STATX_BTIME) != 0);
	MUST(statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_BTIME, &second) == 0);
	MUST((second.stx_mask & STATX_BTIME) != 0);
	return 0;
}

CLASS(times, "times", {"changes of data", of_data}, {"writes to mappings", of_mappings},
      {"changes of attributes", of_attributes}, {"changes of names", of_names}, {"setting times", setting},
      {"reading", of_reads}, {"birth time", birth});
