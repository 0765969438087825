// SPDX-License-Identifier: Apache-2.0
/* Directories where each may remove only what is theirs. */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>

static int prepare(void)
{
	MUST(mkdir("tmp", 01777) == 0 && chmod("tmp", 01777) == 0);
	MUST(make_file("tmp/file", 0666, "x") == 0 && chown("tmp/file", USER, GROUP_OF_USER) == 0);
	MUST(mkdir("tmp/dir", 0777) == 0 && chmod("tmp/dir", 0777) == 0 && chown("tmp/dir", USER, -1) == 0);
	return 0;
}

static int of_others(void)
{
	if (prepare() != 0)
		return -1;
	pid_t child = become(STRANGER, STRANGER, false);
	if (child == 0) {
		MUST(make_file("tmp/mine", 0644, "x") == 0);
		MUST_FAIL(unlink("tmp/file"), EPERM);
		MUST_FAIL(rmdir("tmp/dir"), EPERM);
		MUST_FAIL(rename("tmp/file", "tmp/away"), EPERM);
		MUST_FAIL(rename("tmp/mine", "tmp/file"), EPERM);
		MUST_FAIL(renameat2(AT_FDCWD, "tmp/mine", AT_FDCWD, "tmp/file", RENAME_EXCHANGE), EPERM);
		MUST_FAIL(rename("tmp/dir", "tmp/dir2"), EPERM);
		MUST(rename("tmp/mine", "tmp/mine2") == 0 && unlink("tmp/mine2") == 0);
		return 0;
	}
	JOIN(child);
	return 0;
}

static int of_the_owner(void)
{
	if (prepare() != 0)
		return -1;
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(rename("tmp/file", "tmp/moved") == 0 && unlink("tmp/moved") == 0 && rmdir("tmp/dir") == 0);
		return 0;
	}
	JOIN(child);
	return 0;
}

static int of_the_directory(void)
{
	if (prepare() != 0)
		return -1;
	MUST(chown("tmp", STRANGER, STRANGER) == 0);
	pid_t child = become(STRANGER, STRANGER, false);
	if (child == 0) {
		MUST(unlink("tmp/file") == 0 && rmdir("tmp/dir") == 0);
		return 0;
	}
	JOIN(child);
	return 0;
}

static int the_bit(void)
{
	MUST(mkdir("dir", 01777) == 0);
	MUST_BE(mode_of("dir"), 01755);
	MUST(chmod("dir", 0777) == 0);
	MUST_BE(mode_of("dir"), 0777);
	MUST(make_file("file", 01644, "x") == 0);
	MUST_BE(mode_of("file"), 01644);
	return 0;
}

CLASS(sticky, "sticky", {"what others own can't be removed, renamed or replaced", of_others},
      {"what one owns can", of_the_owner}, {"the directory's owner can", of_the_directory}, {"the bit itself", the_bit});
