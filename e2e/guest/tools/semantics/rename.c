// SPDX-License-Identifier: Apache-2.0
/* rename(2) and renameat2(2). */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <sys/sysmacros.h>

static int rename_with(const char *from, const char *to, unsigned flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static int noreplace(void)
{
	MUST(make_file("a", 0644, "a") == 0 && make_file("b", 0644, "b") == 0 && mkdir("d", 0755) == 0);
	MUST_FAIL(rename_with("a", "b", RENAME_NOREPLACE), EEXIST);
	MUST_FAIL(rename_with("a", "d", RENAME_NOREPLACE), EEXIST);
	MUST_FAIL(rename_with("none", "c", RENAME_NOREPLACE), ENOENT);
	MUST(rename_with("a", "c", RENAME_NOREPLACE) == 0 && holds("c", "a") && access("a", F_OK) < 0);
	MUST(rename_with("d", "e", RENAME_NOREPLACE) == 0 && S_ISDIR(status_of("e").st_mode));
	return 0;
}

static int exchange(void)
{
	MUST(make_file("a", 0644, "a") == 0 && mkdir("d", 0755) == 0 && make_file("d/b", 0644, "b") == 0);
	int a = open("a", O_RDONLY), b = open("d/b", O_RDONLY);
	MUST(rename_with("a", "d/b", RENAME_EXCHANGE) == 0 && holds("a", "b") && holds("d/b", "a"));
	char text[1];
	MUST(read(a, text, 1) == 1 && text[0] == 'a' && read(b, text, 1) == 1 && text[0] == 'b');
	/* A file and a directory. */
	MUST(make_file("f", 0644, "f") == 0 && rename_with("f", "d", RENAME_EXCHANGE) == 0);
	MUST(holds("d", "f") && holds("f/b", "a"));
	MUST_FAIL(rename_with("a", "none", RENAME_EXCHANGE), ENOENT);
	MUST_FAIL(rename_with("f", "f/b", RENAME_EXCHANGE), EINVAL);
	MUST_FAIL(rename_with("a", "d", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	return 0;
}

static int whiteout(void)
{
	MUST(make_file("a", 0644, "a") == 0 && mkdir("d", 0755) == 0);
	MUST(rename_with("a", "d/b", RENAME_WHITEOUT) == 0 && holds("d/b", "a"));
	struct stat left = status_of("a");
	MUST(S_ISCHR(left.st_mode) && left.st_rdev == makedev(0, 0) && (left.st_mode & 0777) == 0);
	MUST(unlink("a") == 0 && make_file("c", 0644, "c") == 0);
	MUST(rename_with("d/b", "c", RENAME_WHITEOUT) == 0 && holds("c", "a") && S_ISCHR(status_of("d/b").st_mode));
	MUST_FAIL(rename_with("c", "e", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
	MUST(make_file("e", 0644, "e") == 0);
	MUST_FAIL(rename_with("c", "e", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
	MUST(mkdir("user", 0777) == 0 && chmod("user", 0777) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		/* Whoever may not make devices may make this one: it gives access to nothing. */
		MUST(make_file("user/f", 0644, "f") == 0 && rename_with("user/f", "user/g", RENAME_WHITEOUT) == 0);
		return 0;
	}
	JOIN(child);
	MUST(S_ISCHR(status_of("user/f").st_mode) && status_of("user/f").st_uid == USER);
	MUST_FAIL(rename_with("c", "h", 0x80), EINVAL);
	return 0;
}

static int replacing(void)
{
	MUST(make_file("a", 0644, "a") == 0 && make_file("b", 0644, "b") == 0 && mkdir("d", 0755) == 0);
	MUST(mkdir("full", 0755) == 0 && make_file("full/x", 0644, "x") == 0 && mkdir("empty", 0755) == 0);
	MUST(rename("a", "b") == 0 && holds("b", "a") && access("a", F_OK) < 0);
	MUST_FAIL(rename("b", "d"), EISDIR);
	MUST_FAIL(rename("d", "b"), ENOTDIR);
	/* XFS has the other error that POSIX allows. */
	MUST(rename("d", "full") < 0 && (errno == ENOTEMPTY || errno == EEXIST));
	MUST_FAIL(rename("full", "full/in"), EINVAL);
	MUST_FAIL(rename("full", "full/x/in"), ENOTDIR);
	MUST(rename("full/x", "full") < 0 && (errno == ENOTEMPTY || errno == EEXIST));
	MUST_FAIL(rename("none", "b"), ENOENT);
	MUST_FAIL(rename("b", "none/b"), ENOENT);
	MUST(rename("full", "empty") == 0 && holds("empty/x", "x"));
	MUST(rename("b", "b") == 0 && holds("b", "a"));
	/* Two names of one inode: nothing happens. */
	MUST(link("b", "same") == 0 && rename("b", "same") == 0 && access("b", F_OK) == 0 && status_of("b").st_nlink == 2);
	MUST(symlink("b", "soft") == 0 && rename("soft", "softer") == 0 && S_ISLNK(status_of("softer").st_mode));
	return 0;
}

static int directories(void)
{
	MUST(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0 && mkdir("a/dir", 0755) == 0);
	MUST(make_file("a/dir/file", 0644, "x") == 0);
	ino_t inode = status_of("a/dir/file").st_ino;
	MUST_BE(status_of("a").st_nlink <= 1 ? 3 : status_of("a").st_nlink, 3);
	int dir = open("a/dir", O_RDONLY | O_DIRECTORY);
	MUST(rename("a/dir", "b/moved") == 0 && status_of("b/moved/file").st_ino == inode);
	MUST(faccessat(dir, "file", F_OK, 0) == 0 && faccessat(dir, "../moved", F_OK, 0) == 0);
	MUST_BE(status_of("b").st_nlink <= 1 ? 3 : status_of("b").st_nlink, 3);
	MUST_FAIL(access("a/dir", F_OK), ENOENT);
	/* A directory that changes its parent is itself written to. */
	MUST(mkdir("open1", 0777) == 0 && chmod("open1", 0777) == 0 && mkdir("open2", 0777) == 0);
	MUST(chmod("open2", 0777) == 0 && mkdir("open1/locked", 0555) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST_FAIL(rename("open1/locked", "open2/locked"), EACCES);
		MUST(rename("open1/locked", "open1/renamed") == 0);
		return 0;
	}
	JOIN(child);
	return 0;
}

CLASS(rename, "rename", {"RENAME_NOREPLACE", noreplace}, {"RENAME_EXCHANGE", exchange}, {"RENAME_WHITEOUT", whiteout},
      {"replacing, and refusals", replacing}, {"directories", directories});
