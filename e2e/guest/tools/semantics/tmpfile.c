// SPDX-License-Identifier: Apache-2.0
/* O_TMPFILE: files that get their name later, or never. */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>

static int give_name(int fd, const char *name)
{
	char from[32];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

static int nameless(void)
{
	struct stat status;
	char text[4];
	int fd = open(".", O_TMPFILE | O_RDWR, 0666);
	MUST(fd >= 0 && write(fd, "text", 4) == 4 && pread(fd, text, 4, 0) == 4 && ftruncate(fd, 100) == 0);
	MUST(fstat(fd, &status) == 0 && status.st_nlink == 0 && status.st_size == 100 && (status.st_mode & 07777) == 0644);
	MUST(fchmod(fd, 0600) == 0 && fsync(fd) == 0 && close(fd) == 0);
	MUST_FAIL(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	MUST(make_file("file", 0644, "") == 0);
	MUST_FAIL(open("file", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
	MUST_FAIL(open("none", O_TMPFILE | O_RDWR, 0600), ENOENT);
	return 0;
}

static int named(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	MUST(fd >= 0 && write(fd, "text", 4) == 4 && give_name(fd, "name") == 0 && holds("name", "text"));
	MUST(status_of("name").st_nlink == 1 && mode_of("name") == 0640);
	MUST(pwrite(fd, "T", 1, 0) == 1 && holds("name", "Text"));
	MUST_FAIL(give_name(fd, "name"), EEXIST);
	MUST(give_name(fd, "second") == 0 && status_of("name").st_nlink == 2);
	MUST(unlink("name") == 0 && close(fd) == 0 && holds("second", "Text"));
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640);
	MUST(fd >= 0);
	MUST_FAIL(give_name(fd, "never"), ENOENT);
	return 0;
}

static int of_users(void)
{
	MUST(mkdir("all", 0777) == 0 && chown("all", 0, TEAM) == 0 && chmod("all", 02777) == 0 && mkdir("none", 0755) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		umask(027);
		int fd = open("all", O_TMPFILE | O_RDWR, 0666);
		MUST(fd >= 0 && give_name(fd, "all/file") == 0);
		MUST_FAIL(open("none", O_TMPFILE | O_RDWR, 0666), EACCES);
		return 0;
	}
	JOIN(child);
	MUST(status_of("all/file").st_uid == USER && status_of("all/file").st_gid == TEAM && mode_of("all/file") == 0640);
	return 0;
}

CLASS(tmpfile, "tmpfile", {"without a name", nameless}, {"linkat", named}, {"of users", of_users});
