// SPDX-License-Identifier: Apache-2.0
/* Inode flags: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

static int flags_of(const char *name)
{
	int flags = -1, fd = open(name, O_RDONLY);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0)
		flags = -1;
	close(fd);
	return flags;
}

static int change(const char *name, int set, int clear)
{
	int flags = flags_of(name), fd = open(name, O_RDONLY);
	flags = (flags | set) & ~clear;
	int result = ioctl(fd, FS_IOC_SETFLAGS, &flags);
	close(fd);
	return result;
}

static int immutable(void)
{
	MUST(make_file("file", 0666, "text") == 0 && flags_of("file") != -1);
	int fd = open("file", O_WRONLY);
	MUST(change("file", FS_IMMUTABLE_FL, 0) == 0 && (flags_of("file") & FS_IMMUTABLE_FL) != 0);
	struct statx extended;
	MUST(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS | STATX_BTIME, &extended) == 0);
	MUST((extended.stx_attributes_mask & STATX_ATTR_IMMUTABLE) == 0 || (extended.stx_attributes & STATX_ATTR_IMMUTABLE));
	int opened = open("file", O_WRONLY), error = errno;
	int chmodded = chmod("file", 0600), chmod_error = errno;
	int removed = unlink("file"), remove_error = errno;
	int linked = link("file", "other"), link_error = errno;
	MUST(change("file", 0, FS_IMMUTABLE_FL) == 0);
	MUST(opened < 0 && error == EPERM && chmodded < 0 && chmod_error == EPERM);
	MUST(removed < 0 && remove_error == EPERM && linked < 0 && link_error == EPERM);
	MUST(holds("file", "text") && write(fd, "x", 1) == 1 && unlink("file") == 0);
	return 0;
}

static int append_only(void)
{
	MUST(make_file("file", 0666, "text") == 0 && change("file", FS_APPEND_FL, 0) == 0);
	int plain = open("file", O_WRONLY), plain_error = errno;
	int truncated = truncate("file", 0), truncate_error = errno;
	int fd = open("file", O_WRONLY | O_APPEND);
	ssize_t written = fd < 0 ? -1 : write(fd, "more", 4);
	MUST(change("file", 0, FS_APPEND_FL) == 0);
	MUST(plain < 0 && plain_error == EPERM && truncated < 0 && truncate_error == EPERM);
	/* A client that writes whole pages can't append. */
	if (trait("writeback"))
		MUST(fd < 0);
	else
		MUST(fd >= 0 && written == 4 && holds("file", "textmore"));
	return 0;
}

static int extended(void)
{
	struct fsxattr attributes;
	MUST(make_file("file", 0666, "text") == 0 && mkdir("dir", 0755) == 0);
	int fd = open("file", O_RDONLY);
	MUST(ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0);
	attributes.fsx_xflags |= FS_XFLAG_NODUMP;
	MUST(ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0);
	memset(&attributes, 0, sizeof(attributes));
	MUST(ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0 && (attributes.fsx_xflags & FS_XFLAG_NODUMP) != 0);
	MUST((flags_of("file") & FS_NODUMP_FL) != 0);
	MUST(change("dir", FS_NODUMP_FL, 0) == 0 && (flags_of("dir") & FS_NODUMP_FL) != 0);
	MUST(ioctl(open("dir", O_RDONLY), FS_IOC_FSGETXATTR, &attributes) == 0);
	return 0;
}

static int who_may(void)
{
	MUST(make_file("file", 0666, "text") == 0 && make_file("own", 0644, "x") == 0 && chown("own", USER, -1) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(flags_of("file") != -1);
		MUST_FAIL(change("file", FS_NODUMP_FL, 0), EPERM);
		MUST(change("own", FS_NODUMP_FL, 0) == 0);
		MUST_FAIL(change("own", FS_IMMUTABLE_FL, 0), EPERM);
		return 0;
	}
	JOIN(child);
	MUST((flags_of("file") & FS_NODUMP_FL) == 0 && (flags_of("own") & FS_NODUMP_FL) != 0);
	/* Nothing else of that kind. */
	int fd = open("file", O_RDWR), argument = 0;
	MUST_FAIL(ioctl(fd, _IOR('f', 99, int), &argument), ENOTTY);
	return 0;
}

CLASS(flags, "flags", {"immutable files", immutable}, {"append-only files", append_only}, {"struct fsxattr", extended},
      {"who may", who_may});
