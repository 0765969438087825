// SPDX-License-Identifier: Apache-2.0
/* Who a request acts for: owners, groups, umask, and what each user may. */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>

static int owners(void)
{
	MUST(mkdir("all", 0777) == 0 && chmod("all", 0777) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(make_file("all/file", 0644, "x") == 0);
		MUST(mkdir("all/dir", 0755) == 0);
		MUST(symlink("file", "all/link") == 0);
		MUST(mkfifo("all/fifo", 0600) == 0);
		MUST_FAIL(mknod("all/device", S_IFCHR | 0600, 0x103), EPERM);
		return 0;
	}
	JOIN(child);
	static const char *const names[] = {"all/file", "all/dir", "all/link", "all/fifo"};
	for (size_t index = 0; index < 4; index++) {
		MUST_BE(status_of(names[index]).st_uid, USER);
		MUST_BE(status_of(names[index]).st_gid, GROUP_OF_USER);
	}
	return 0;
}

static int supplementary_groups(void)
{
	MUST(mkdir("team", 0770) == 0 && chown("team", 0, TEAM) == 0 && chmod("team", 0770) == 0);
	MUST(make_file("readable", 0640, "x") == 0 && chown("readable", 0, TEAM) == 0);
	pid_t child = become(USER, GROUP_OF_USER, true);
	if (child == 0) {
		MUST(make_file("team/mine", 0644, "x") == 0 && mkdir("team/dir", 0755) == 0);
		MUST(open("readable", O_RDONLY) >= 0);
		MUST_FAIL(open("readable", O_WRONLY), EACCES);
		MUST(chown("team/mine", -1, TEAM) == 0);
		MUST_FAIL(chown("team/mine", -1, STRANGER), EPERM);
		MUST_FAIL(chown("team/mine", STRANGER, -1), EPERM);
		MUST(chown("team/mine", USER, -1) == 0);
		return 0;
	}
	JOIN(child);
	MUST_BE(status_of("team/dir").st_gid, GROUP_OF_USER);
	MUST_BE(status_of("team/mine").st_gid, TEAM);
	child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST_FAIL(open("team/other", O_CREAT | O_WRONLY, 0600), EACCES);
		MUST_FAIL(open("readable", O_RDONLY), EACCES);
		return 0;
	}
	JOIN(child);
	return 0;
}

static int setgid_directories(void)
{
	MUST(mkdir("shared", 0777) == 0 && chown("shared", 0, TEAM) == 0 && chmod("shared", 02777) == 0);
	for (int member = 0; member < 2; member++) {
		pid_t child = become(USER, GROUP_OF_USER, member);
		if (child == 0) {
			umask(0);
			int fd = open("shared/file", O_CREAT | O_EXCL | O_WRONLY, 02775);
			MUST(fd >= 0 && mkdir("shared/dir", 0755) == 0 && mkfifo("shared/fifo", 0600) == 0);
			return 0;
		}
		JOIN(child);
		MUST_BE(status_of("shared/file").st_gid, TEAM);
		MUST_BE(status_of("shared/fifo").st_gid, TEAM);
		MUST_BE(status_of("shared/dir").st_gid, TEAM);
		MUST_BE(mode_of("shared/dir"), 02755);
		/* Only a member may make a file that runs with the group's rights. */
		MUST_BE(mode_of("shared/file"), member ? 02775 : 0775);
		MUST(unlink("shared/file") == 0 && rmdir("shared/dir") == 0 && unlink("shared/fifo") == 0);
	}
	return 0;
}

static int umasks(void)
{
	static const mode_t masks[] = {0, 022, 027, 077, 0777};
	MUST(mkdir("all", 0777) == 0 && chmod("all", 0777) == 0);
	for (size_t index = 0; index < 5; index++) {
		mode_t mask = masks[index];
		pid_t child = become(USER, GROUP_OF_USER, false);
		if (child == 0) {
			umask(mask);
			MUST(open("all/file", O_CREAT | O_EXCL | O_WRONLY, 0666) >= 0);
			MUST(mkdir("all/dir", 0777) == 0 && mknod("all/node", S_IFREG | 0606, 0) == 0);
			MUST(mkfifo("all/fifo", 0666) == 0 && symlink("x", "all/link") == 0);
			return 0;
		}
		JOIN(child);
		MUST_BE(mode_of("all/file"), 0666 & ~mask);
		MUST_BE(mode_of("all/dir"), 0777 & ~mask);
		MUST_BE(mode_of("all/node"), 0606 & ~mask);
		MUST_BE(mode_of("all/fifo"), 0666 & ~mask);
		MUST_BE(mode_of("all/link"), 0777);
		MUST(unlink("all/file") == 0 && rmdir("all/dir") == 0 && unlink("all/node") == 0);
		MUST(unlink("all/fifo") == 0 && unlink("all/link") == 0);
	}
	return 0;
}

static int refusals(void)
{
	MUST(make_file("private", 0600, "x") == 0 && make_file("public", 0644, "x") == 0);
	MUST(make_file("anyone", 0666, "x") == 0 && make_file("nothing", 0, "x") == 0);
	MUST(mkdir("closed", 0700) == 0 && make_file("closed/file", 0644, "x") == 0);
	MUST(mkdir("searchable", 0711) == 0 && make_file("searchable/file", 0644, "x") == 0);
	MUST(mkdir("listable", 0744) == 0 && make_file("listable/file", 0644, "x") == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		struct stat status;
		const struct timespec given[2] = {{1000, 0}, {1000, 0}};
		MUST_FAIL(open("private", O_RDONLY), EACCES);
		MUST_FAIL(open("public", O_WRONLY), EACCES);
		MUST_FAIL(truncate("public", 0), EACCES);
		MUST_FAIL(open("closed/file", O_RDONLY), EACCES);
		MUST_FAIL(stat("closed/file", &status), EACCES);
		MUST(stat("searchable/file", &status) == 0 && open("searchable/file", O_RDONLY) >= 0);
		MUST_FAIL(open("searchable", O_RDONLY | O_DIRECTORY), EACCES);
		MUST(open("listable", O_RDONLY | O_DIRECTORY) >= 0);
		MUST_FAIL(stat("listable/file", &status), EACCES);
		MUST_FAIL(chmod("anyone", 0600), EPERM);
		MUST_FAIL(unlink("anyone"), EACCES);
		MUST_FAIL(rename("anyone", "other"), EACCES);
		/* EPERM with fs.protected_hardlinks. */
		MUST(link("public", "linked") < 0 && (errno == EACCES || errno == EPERM));
		MUST_FAIL(mkdir("dir", 0777), EACCES);
		MUST_FAIL(symlink("x", "soft"), EACCES);
		/* Whoever may write may say "now", and nothing else. */
		MUST(utimensat(AT_FDCWD, "anyone", NULL, 0) == 0);
		MUST_FAIL(utimensat(AT_FDCWD, "anyone", given, 0), EPERM);
		MUST_FAIL(utimensat(AT_FDCWD, "public", NULL, 0), EACCES);
		MUST_FAIL(access("private", R_OK), EACCES);
		MUST(access("public", R_OK) == 0);
		MUST_FAIL(faccessat(AT_FDCWD, "public", W_OK, AT_EACCESS), EACCES);
		return 0;
	}
	JOIN(child);
	/* Root reads and writes what has no bits, but runs only what somebody may run. */
	MUST(open("nothing", O_RDWR) >= 0 && access("nothing", R_OK | W_OK) == 0);
	MUST_FAIL(access("public", X_OK), EACCES);
	return 0;
}

static int large_ids(void)
{
	MUST(make_file("file", 0600, "x") == 0 && chown("file", 4000000000U, 3000000000U) == 0);
	MUST_BE(status_of("file").st_uid, 4000000000U);
	MUST_BE(status_of("file").st_gid, 3000000000U);
	pid_t child = become(4000000000U, 3000000000U, false);
	if (child == 0) {
		MUST(open("file", O_RDWR) >= 0 && chmod("file", 0640) == 0);
		return 0;
	}
	JOIN(child);
	MUST_BE(mode_of("file"), 0640);
	return 0;
}

static int a_descriptor_keeps_its_rights(void)
{
	MUST(make_file("file", 0666, "text") == 0);
	int fd = open("file", O_RDWR);
	MUST(fd >= 0 && chmod("file", 0) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		char text[4];
		MUST(pread(fd, text, 4, 0) == 4 && pwrite(fd, "TEXT", 4, 0) == 4);
		MUST_FAIL(open("file", O_RDONLY), EACCES);
		return 0;
	}
	JOIN(child);
	MUST(holds("file", "TEXT"));
	return 0;
}

static int created_readable_and_written(void)
{
	MUST(mkdir("all", 0777) == 0 && chmod("all", 0777) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		int fd = open("all/file", O_CREAT | O_EXCL | O_RDWR, 0444);
		MUST(fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 100) == 0);
		MUST_FAIL(open("all/file", O_RDWR), EACCES);
		fd = open("all/none", O_CREAT | O_EXCL | O_WRONLY, 0);
		MUST(fd >= 0 && write(fd, "x", 1) == 1);
		MUST_FAIL(open("all/none", O_RDONLY), EACCES);
		return 0;
	}
	JOIN(child);
	MUST_BE(status_of("all/file").st_size, 100);
	return 0;
}

CLASS(credentials, "credentials", {"owner and group of what a user makes", owners},
      {"supplementary groups", supplementary_groups}, {"set-group-ID directories", setgid_directories},
      {"umask", umasks}, {"refusals to other users", refusals}, {"ids beyond 2^31", large_ids},
      {"an open descriptor keeps its rights", a_descriptor_keeps_its_rights},
      {"a file made without the right to write it, open for writing", created_readable_and_written});
