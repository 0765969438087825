// SPDX-License-Identifier: Apache-2.0
/* Extended attributes: the name spaces, who may, and how much. */
#define _GNU_SOURCE
#include "check.h"

#include <sys/xattr.h>

static int values(void)
{
	char value[2048];
	MUST(make_file("file", 0644, "x") == 0);
	MUST_FAIL(getxattr("file", "user.a", value, sizeof(value)), ENODATA);
	MUST_FAIL(setxattr("file", "user.a", "1", 1, XATTR_REPLACE), ENODATA);
	MUST(setxattr("file", "user.a", "first", 5, XATTR_CREATE) == 0);
	MUST_FAIL(setxattr("file", "user.a", "second", 6, XATTR_CREATE), EEXIST);
	MUST(getxattr("file", "user.a", NULL, 0) == 5 && getxattr("file", "user.a", value, 5) == 5);
	MUST(memcmp(value, "first", 5) == 0);
	MUST_FAIL(getxattr("file", "user.a", value, 4), ERANGE);
	MUST(setxattr("file", "user.a", "", 0, XATTR_REPLACE) == 0 && getxattr("file", "user.a", value, 10) == 0);
	memset(value, 'v', sizeof(value));
	MUST(setxattr("file", "user.b", value, sizeof(value), 0) == 0);
	MUST_BE(getxattr("file", "user.b", value, sizeof(value)), sizeof(value));
	MUST(removexattr("file", "user.a") == 0);
	MUST_FAIL(removexattr("file", "user.a"), ENODATA);
	/* Bytes of any kind. */
	MUST(setxattr("file", "user.\xff\x01", "\0\1\2", 3, 0) == 0 && getxattr("file", "user.\xff\x01", value, 3) == 3);
	MUST(memcmp(value, "\0\1\2", 3) == 0);
	MUST_FAIL(setxattr("file", "", "1", 1, 0), ERANGE);
	MUST_FAIL(setxattr("file", "user.", "1", 1, 0), EINVAL);
	MUST_FAIL(setxattr("file", "nonsense.x", "1", 1, 0), EOPNOTSUPP);
	int fd = open("file", O_RDONLY);
	MUST(fsetxattr(fd, "user.fd", "d", 1, 0) == 0 && fgetxattr(fd, "user.fd", value, 1) == 1);
	return 0;
}

static int names(void)
{
	char name[300], list[4096];
	MUST(make_file("file", 0644, "x") == 0);
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[255] = '\0';
	MUST(setxattr("file", name, "1", 1, 0) == 0 && getxattr("file", name, list, 1) == 1);
	name[255] = 'n';
	name[256] = '\0';
	MUST_FAIL(setxattr("file", name, "1", 1, 0), ERANGE);
	MUST(setxattr("file", "user.one", "1", 1, 0) == 0 && setxattr("file", "trusted.two", "2", 1, 0) == 0);
	ssize_t size = listxattr("file", NULL, 0);
	MUST(size >= 256 + 9 + 12 && listxattr("file", list, sizeof(list)) == size);
	MUST_FAIL(listxattr("file", list, 20), ERANGE);
	int seen = 0;
	for (char *at = list; at < list + size; at += strlen(at) + 1)
		seen += strcmp(at, "user.one") == 0 || strcmp(at, "trusted.two") == 0 || strlen(at) == 255;
	MUST_BE(seen, 3);
	return 0;
}

static int kinds_of_files(void)
{
	char value[4];
	MUST(make_file("file", 0644, "x") == 0 && symlink("file", "link") == 0 && mkfifo("fifo", 0644) == 0);
	MUST(mkdir("dir", 0755) == 0 && setxattr("dir", "user.x", "1", 1, 0) == 0);
	MUST_FAIL(lsetxattr("link", "user.x", "1", 1, 0), EPERM);
	MUST_FAIL(setxattr("fifo", "user.x", "1", 1, 0), EPERM);
	MUST(lsetxattr("link", "trusted.x", "1", 1, 0) == 0 && lgetxattr("link", "trusted.x", value, 4) == 1);
	MUST_FAIL(getxattr("link", "trusted.x", value, 4), ENODATA);
	MUST(setxattr("fifo", "trusted.x", "1", 1, 0) == 0 && getxattr("fifo", "trusted.x", value, 4) == 1);
	MUST(setxattr("link", "user.through", "1", 1, 0) == 0 && getxattr("file", "user.through", value, 4) == 1);
	MUST(lremovexattr("link", "trusted.x") == 0);
	return 0;
}

static int who_may(void)
{
	char value[4];
	MUST(make_file("file", 0644, "x") == 0 && make_file("secret", 0600, "x") == 0);
	MUST(mkdir("sticky", 01777) == 0 && chmod("sticky", 01777) == 0);
	MUST(setxattr("file", "user.x", "1", 1, 0) == 0 && setxattr("secret", "user.x", "1", 1, 0) == 0);
	MUST(setxattr("file", "trusted.x", "1", 1, 0) == 0 && setxattr("file", "security.x", "1", 1, 0) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(getxattr("file", "user.x", value, 4) == 1);
		MUST_FAIL(setxattr("file", "user.x", "2", 1, 0), EACCES);
		MUST_FAIL(getxattr("secret", "user.x", value, 4), EACCES);
		MUST_FAIL(getxattr("file", "trusted.x", value, 4), ENODATA);
		MUST_FAIL(setxattr("file", "trusted.x", "2", 1, 0), EPERM);
		MUST(getxattr("file", "security.x", value, 4) == 1);
		MUST_FAIL(setxattr("file", "security.x", "2", 1, 0), EPERM);
		MUST_FAIL(setxattr("sticky", "user.x", "2", 1, 0), EPERM);
		return 0;
	}
	JOIN(child);
	return 0;
}

CLASS(xattr, "xattr", {"values", values}, {"names, and the list", names}, {"kinds of files", kinds_of_files},
      {"who may", who_may});
