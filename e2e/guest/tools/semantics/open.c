// SPDX-License-Identifier: Apache-2.0
/* Flags of open(2), and descriptors that only name a file. */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

static int append(void)
{
	int first, second, plain;
	MUST((first = open("file", O_RDWR | O_CREAT | O_APPEND, 0644)) >= 0);
	MUST((second = open("file", O_WRONLY | O_APPEND)) >= 0 && (plain = open("file", O_RDWR)) >= 0);
	MUST(write(first, "ab", 2) == 2 && write(second, "cd", 2) == 2 && write(first, "ef", 2) == 2);
	MUST(holds("file", "abcdef"));
	/* Linux appends even where pwrite() names a place. */
	MUST(pwrite(first, "gh", 2, 0) == 2 && holds("file", "abcdefgh"));
	MUST(lseek(second, 0, SEEK_SET) == 0 && write(second, "i", 1) == 1 && holds("file", "abcdefghi"));
	MUST_BE(lseek(second, 0, SEEK_CUR), 9);
	MUST(pwrite(plain, "AB", 2, 0) == 2 && holds("file", "ABcdefghi"));
	/* The flag comes and goes with fcntl(). */
	MUST(fcntl(plain, F_SETFL, O_APPEND) == 0 && pwrite(plain, "j", 1, 0) == 1 && holds("file", "ABcdefghij"));
	MUST(fcntl(first, F_SETFL, 0) == 0 && pwrite(first, "X", 1, 0) == 1 && holds("file", "XBcdefghij"));
	struct iovec piece = {(void *)"k", 1};
	MUST(pwritev2(first, &piece, 1, 0, RWF_APPEND) == 1 && holds("file", "XBcdefghijk"));
	MUST(ftruncate(second, 3) == 0 && write(second, "z", 1) == 1 && holds("file", "XBcz"));
	return 0;
}

static int append_by_many(void)
{
	enum { WRITERS = 4, LINES = 100 };
	pid_t children[WRITERS];
	static char text[WRITERS * LINES * 16];
	for (int writer = 0; writer < WRITERS; writer++) {
		children[writer] = become(0, 0, false);
		if (children[writer] == 0) {
			char line[17];
			int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
			for (int number = 0; number < LINES; number++) {
				snprintf(line, sizeof(line), "writer %d at %03d", writer, number);
				line[15] = '\n';
				MUST(write(fd, line, 16) == 16);
			}
			return 0;
		}
	}
	for (int writer = 0; writer < WRITERS; writer++)
		JOIN(children[writer]);
	int seen[WRITERS] = {0};
	int fd = open("log", O_RDONLY);
	MUST(read(fd, text, sizeof(text)) == sizeof(text) && status_of("log").st_size == sizeof(text));
	for (size_t at = 0; at < sizeof(text); at += 16) {
		int writer = text[at + 7] - '0';
		MUST(writer >= 0 && writer < WRITERS && text[at + 15] == '\n');
		/* Each writer's lines are in their order. */
		MUST_BE(atoi(text + at + 12), seen[writer]++);
	}
	return 0;
}

static int truncating(void)
{
	MUST(make_file("file", 0644, "text") == 0);
	int reader = open("file", O_RDONLY);
	int fd = open("file", O_RDWR | O_TRUNC);
	MUST(reader >= 0 && fd >= 0 && status_of("file").st_size == 0);
	char text[4];
	MUST(pread(reader, text, 4, 0) == 0 && pwrite(fd, "new", 3, 0) == 3 && pread(reader, text, 4, 0) == 3);
	MUST(open("file", O_CREAT | O_TRUNC | O_WRONLY, 0600) >= 0);
	MUST_BE(status_of("file").st_size, 0);
	MUST_BE(mode_of("file"), 0644);
	MUST_FAIL(open("none", O_WRONLY | O_TRUNC), ENOENT);
	MUST(mkdir("dir", 0755) == 0);
	MUST_FAIL(open("dir", O_WRONLY | O_TRUNC), EISDIR);
	/* Truncation is of the file, whatever each handle has read. */
	MUST(pwrite(fd, "0123456789", 10, 0) == 10 && ftruncate(fd, 4) == 0 && ftruncate(fd, 8) == 0);
	char after[8];
	MUST(pread(reader, after, 8, 0) == 8 && memcmp(after, "0123\0\0\0\0", 8) == 0);
	MUST_FAIL(ftruncate(reader, 0), EINVAL);
	MUST_FAIL(ftruncate(fd, -1), EINVAL);
	MUST_FAIL(truncate("dir", 0), EISDIR);
	return 0;
}

static int symbolic_links(void)
{
	MUST(make_file("file", 0644, "text") == 0 && symlink("file", "link") == 0 && symlink("new", "dangling") == 0);
	MUST(mkdir("dir", 0755) == 0 && symlink("dir", "dirlink") == 0 && make_file("dir/in", 0644, "") == 0);
	MUST_FAIL(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	MUST_FAIL(open("link", O_RDWR | O_CREAT | O_NOFOLLOW, 0644), ELOOP);
	MUST_FAIL(open("dirlink", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), ENOTDIR);
	MUST(open("dirlink/in", O_RDONLY | O_NOFOLLOW) >= 0);
	MUST_FAIL(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
	MUST_FAIL(open("dangling", O_RDWR), ENOENT);
	MUST(open("dangling", O_RDWR | O_CREAT, 0640) >= 0 && mode_of("new") == 0640);
	return 0;
}

static int kinds(void)
{
	MUST(make_file("file", 0644, "text") == 0 && mkdir("dir", 0755) == 0 && mkfifo("fifo", 0644) == 0);
	MUST_FAIL(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	MUST_FAIL(open("dir", O_RDWR), EISDIR);
	MUST_FAIL(open("dir", O_RDONLY | O_CREAT, 0644), EISDIR);
	MUST_FAIL(open("file", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
	MUST_FAIL(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
	int fd = open("fifo", O_RDONLY | O_NONBLOCK);
	MUST(fd >= 0 && open("fifo", O_WRONLY | O_NONBLOCK) >= 0);
	char text[1];
	MUST_FAIL(read(open("dir", O_RDONLY), text, 1), EISDIR);
	MUST_FAIL(write(open("file", O_RDONLY), "x", 1), EBADF);
	MUST_FAIL(read(open("file", O_WRONLY), text, 1), EBADF);
	MUST_FAIL(open("file/", O_RDONLY), ENOTDIR);
	MUST_FAIL(open("none/", O_RDWR | O_CREAT, 0644), EISDIR);
	return 0;
}

static int direct(void)
{
	enum { SIZE = 1 << 20, ALIGN = 4096 };
	static char buffer[SIZE] __attribute__((aligned(ALIGN))), other[SIZE] __attribute__((aligned(ALIGN)));
	int fd = open("file", O_RDWR | O_CREAT | O_DIRECT, 0644), buffered = open("file", O_RDWR);
	MUST(fd >= 0 && buffered >= 0);
	for (int index = 0; index < SIZE; index++)
		buffer[index] = (char)(index >> 8);
	MUST(pwrite(fd, buffer, SIZE, ALIGN) == SIZE && pread(buffered, other, SIZE, ALIGN) == SIZE);
	MUST(memcmp(buffer, other, SIZE) == 0);
	/* What is cached by now must go. */
	memset(buffer, 'd', ALIGN);
	MUST(pwrite(fd, buffer, ALIGN, 2 * ALIGN) == ALIGN && pread(buffered, other, ALIGN, 2 * ALIGN) == ALIGN);
	MUST(other[0] == 'd' && other[ALIGN - 1] == 'd');
	MUST(pwrite(buffered, "b", 1, 3 * ALIGN) == 1 && pread(fd, other, ALIGN, 3 * ALIGN) == ALIGN && other[0] == 'b');
	/* A short read at the end, and nothing behind it. */
	MUST(ftruncate(buffered, ALIGN + 100) == 0 && pread(fd, other, 2 * ALIGN, 0) == ALIGN + 100);
	MUST(pread(fd, other, ALIGN, 4 * ALIGN) == 0);
	MUST(fcntl(buffered, F_SETFL, O_DIRECT) == 0 && pread(buffered, other, ALIGN, 0) == ALIGN);
	return 0;
}

static int synchronous(void)
{
	int fd = open("file", O_WRONLY | O_CREAT | O_SYNC, 0644), data = open("file", O_WRONLY | O_DSYNC);
	struct iovec piece = {(void *)"v", 1};
	MUST(fd >= 0 && write(fd, "sync", 4) == 4 && data >= 0 && pwrite(data, "d", 1, 4) == 1);
	MUST(pwritev2(data, &piece, 1, 5, RWF_DSYNC) == 1 && pwritev2(data, &piece, 1, 6, RWF_SYNC) == 1);
	MUST(holds("file", "syncdvv"));
	MUST(fsync(open(".", O_RDONLY)) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
	MUST(fsync(open("file", O_RDONLY)) == 0 && sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0);
	return 0;
}

static int noatime(void)
{
	MUST(make_file("file", 0666, "text") == 0 && open("file", O_RDONLY | O_NOATIME) >= 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST_FAIL(open("file", O_RDONLY | O_NOATIME), EPERM);
		MUST(open("file", O_RDONLY) >= 0);
		return 0;
	}
	JOIN(child);
	return 0;
}

/* One in /proc/self/fd, which names the inode. */
static const char *by_descriptor(int fd)
{
	static char name[32];
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return name;
}

static int path_descriptors(void)
{
	char text[16];
	struct stat status;
	MUST(make_file("file", 0600, "text") == 0 && symlink("file", "link") == 0 && mkdir("dir", 0755) == 0);
	int fd = open("file", O_PATH), soft = open("link", O_PATH | O_NOFOLLOW), dir = open("dir", O_PATH | O_DIRECTORY);
	MUST(fd >= 0 && soft >= 0 && dir >= 0);
	MUST_FAIL(read(fd, text, 1), EBADF);
	MUST_FAIL(fchmod(fd, 0644), EBADF);
	MUST_FAIL(fgetxattr(fd, "user.x", text, 1), EBADF);
	MUST_FAIL(ftruncate(fd, 0), EBADF);
	MUST(fstat(fd, &status) == 0 && status.st_size == 4);
	MUST(fstat(soft, &status) == 0 && S_ISLNK(status.st_mode));
	MUST(readlinkat(soft, "", text, sizeof(text)) == 4);
	/* By way of /proc it can do what the file lets one do, also when the name has gone. */
	MUST(rename("file", "dir/file") == 0 && chmod(by_descriptor(fd), 0640) == 0 && mode_of("dir/file") == 0640);
	MUST(open(by_descriptor(fd), O_RDWR) >= 0);
	MUST(fchownat(fd, "", USER, TEAM, AT_EMPTY_PATH) == 0 && status_of("dir/file").st_uid == USER);
	MUST(fchownat(soft, "", USER, TEAM, AT_EMPTY_PATH) == 0 && status_of("link").st_uid == USER);
	MUST(linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH) == 0 && status_of("again").st_nlink == 2);
	MUST(openat(dir, "file", O_RDONLY) >= 0 && mkdirat(dir, "in", 0700) == 0 && fchmodat(dir, "in", 0711, 0) == 0);
	MUST(utimensat(fd, "", NULL, AT_EMPTY_PATH) == 0);
	MUST(unlink("dir/file") == 0 && unlink("again") == 0);
	MUST(fstat(fd, &status) == 0 && status.st_nlink == 0 && open(by_descriptor(fd), O_RDWR) >= 0);
	return 0;
}

static int modes_of_links(void)
{
	MUST(make_file("file", 0600, "text") == 0 && symlink("file", "link") == 0);
	MUST(fchmodat(AT_FDCWD, "link", 0640, 0) == 0 && mode_of("file") == 0640 && mode_of("link") == 0777);
#ifdef SYS_fchmodat2
	MUST(syscall(SYS_fchmodat2, AT_FDCWD, "file", 0604, AT_SYMLINK_NOFOLLOW) == 0 && mode_of("file") == 0604);
	MUST_FAIL(syscall(SYS_fchmodat2, AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
#endif
	MUST(lchown("link", USER, TEAM) == 0 && status_of("link").st_uid == USER && status_of("file").st_uid == 0);
	MUST(chown("link", STRANGER, -1) == 0 && status_of("file").st_uid == STRANGER);
	return 0;
}

static int running_programs(void)
{
	MUST(make_file("script", 0755, "#!/bin/sh\nexit 0\n") == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		execl("./script", "script", NULL);
		return fail("execl: %s", strerror(errno));
	}
	JOIN(child);
	MUST(chmod("script", 0644) == 0);
	MUST_FAIL(execl("./script", "script", NULL), EACCES);
	int fd = open("script", O_WRONLY);
	MUST(fd >= 0 && chmod("script", 0755) == 0);
	MUST_FAIL(execl("./script", "script", NULL), ETXTBSY);
	return 0;
}

CLASS(open, "open", {"O_APPEND", append}, {"O_APPEND by several at once", append_by_many}, {"O_TRUNC, truncate", truncating},
      {"symbolic links, O_NOFOLLOW", symbolic_links}, {"directories, FIFOs, access modes", kinds}, {"O_DIRECT", direct},
      {"O_SYNC, fsync, syncfs", synchronous}, {"O_NOATIME", noatime}, {"O_PATH, AT_EMPTY_PATH", path_descriptors},
      {"fchmodat, lchown", modes_of_links}, {"running programs", running_programs});
