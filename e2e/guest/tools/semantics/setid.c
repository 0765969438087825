// SPDX-License-Identifier: Apache-2.0
/* What takes the set-id bits and file capabilities away, and what does not. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/capability.h>
#include <linux/xattr.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static int by_write(void)
{
	int fd = open("program", O_WRONLY);
	MUST(fd >= 0 && write(fd, "y", 1) == 1);
	return 0;
}

static int by_append(void)
{
	int fd = open("program", O_WRONLY | O_APPEND);
	MUST(fd >= 0 && write(fd, "y", 1) == 1);
	return 0;
}

static int by_direct_write(void)
{
	static char block[4096] __attribute__((aligned(4096)));
	int fd = open("program", O_WRONLY | O_DIRECT);
	MUST(fd >= 0 && write(fd, block, sizeof(block)) == sizeof(block));
	return 0;
}

static int by_truncate(void)
{
	MUST(truncate("program", 10) == 0);
	return 0;
}

static int by_ftruncate(void)
{
	int fd = open("program", O_WRONLY);
	MUST(fd >= 0 && ftruncate(fd, 10) == 0);
	return 0;
}

static int by_open(void)
{
	MUST(open("program", O_WRONLY | O_TRUNC) >= 0);
	return 0;
}

static int by_create(void)
{
	MUST(open("program", O_WRONLY | O_CREAT | O_TRUNC, 0644) >= 0);
	return 0;
}

static int by_copy(void)
{
	int from = open("source", O_RDONLY), to = open("program", O_WRONLY);
	loff_t in = 0, out = 0;
	MUST(from >= 0 && to >= 0 && copy_file_range(from, &in, to, &out, 4, 0) == 4);
	return 0;
}

static int by_allocation(void)
{
	int fd = open("program", O_WRONLY);
	MUST(fd >= 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	return 0;
}

static const struct {
	const char *what;
	int (*change)(void);
} changes[] = {
    {"write", by_write},
    {"write with O_APPEND", by_append},
    {"write with O_DIRECT", by_direct_write},
    {"truncate", by_truncate},
    {"ftruncate", by_ftruncate},
    {"O_TRUNC", by_open},
    {"O_CREAT|O_TRUNC", by_create},
    {"copy_file_range", by_copy},
    {"fallocate", by_allocation},
};
enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };

static int make_program(mode_t mode)
{
	static char text[8192];
	memset(text, 'x', sizeof(text) - 1);
	unlink("program");
	MUST(make_file("program", mode, text) == 0 && make_file("source", 0644, "data") == 0);
	return 0;
}

static int an_ordinary_user(void)
{
	for (int index = 0; index < CHANGES; index++) {
		if (make_program(06777) != 0)
			return -1;
		pid_t child = become(USER, GROUP_OF_USER, false);
		if (child == 0)
			return changes[index].change();
		JOIN(child);
		if (mode_of("program") != 0777)
			return fail("%s by a user leaves mode 0%o", changes[index].what, mode_of("program"));
	}
	return 0;
}

static int root(void)
{
	for (int index = 0; index < CHANGES; index++) {
		if (make_program(06777) != 0 || changes[index].change() != 0)
			return -1;
		/* The server can't know whose they are. */
		bool silent = changes[index].change == by_copy || changes[index].change == by_allocation;
		if (mode_of("program") != (trait("killpriv-v2") && silent ? 0777 : 06777))
			return fail("%s by root leaves mode 0%o", changes[index].what, mode_of("program"));
	}
	return 0;
}

static int setgid_without_execution(void)
{
	/* S_ISGID without S_IXGRP does not mean set-group-ID; a member's write leaves it. */
	if (make_program(02666) != 0)
		return -1;
	MUST(chown("program", 0, TEAM) == 0 && chmod("program", 02666) == 0);
	pid_t child = become(USER, GROUP_OF_USER, true);
	if (child == 0)
		return by_write();
	JOIN(child);
	/* Some servers do not know who is a member, and POSIX lets a write clear the bit at any rate. */
	MUST_BE(mode_of("program"), trait("direct") || (trait("killpriv-v2") && !trait("writeback")) ? 0666 : 02666);
	return 0;
}

static int an_older_descriptor(void)
{
	if (make_program(0777) != 0)
		return -1;
	int fd = open("program", O_WRONLY);
	MUST(fd >= 0 && chmod("program", 06777) == 0);
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(pwrite(fd, "z", 1, 5) == 1);
		return 0;
	}
	JOIN(child);
	MUST_BE(mode_of("program"), 0777);
	/* And again, once a write has gone through. */
	MUST(chmod("program", 04777) == 0);
	child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		MUST(pwrite(fd, "z", 1, 5) == 1);
		return 0;
	}
	JOIN(child);
	MUST_BE(mode_of("program"), 0777);
	return 0;
}

static int change_of_owner(void)
{
	if (make_program(06755) != 0)
		return -1;
	MUST(chown("program", USER, GROUP_OF_USER) == 0);
	MUST_BE(mode_of("program"), 0755);
	MUST(chmod("program", 06755) == 0);
	pid_t child = become(USER, GROUP_OF_USER, true);
	if (child == 0) {
		MUST(chown("program", -1, TEAM) == 0);
		return 0;
	}
	JOIN(child);
	MUST_BE(mode_of("program"), 0755);
	MUST_BE(status_of("program").st_gid, TEAM);
	MUST(mkdir("directory", 0755) == 0 && chmod("directory", 06755) == 0);
	MUST(chown("directory", USER, TEAM) == 0);
	MUST_BE(mode_of("directory"), 06755);
	return 0;
}

static int change_of_mode(void)
{
	if (make_program(0755) != 0)
		return -1;
	MUST(chown("program", USER, TEAM) == 0);
	for (int member = 0; member < 2; member++) {
		pid_t child = become(USER, GROUP_OF_USER, member);
		if (child == 0) {
			MUST(chmod("program", 06755) == 0);
			return 0;
		}
		JOIN(child);
		MUST_BE(mode_of("program"), member ? 06755 : 04755);
	}
	return 0;
}

static bool has_capability(void)
{
	char value[64];
	return getxattr("program", XATTR_NAME_CAPS, value, sizeof(value)) >= 0;
}

static int file_capabilities(void)
{
	const struct vfs_cap_data capability = {.magic_etc = VFS_CAP_REVISION_2, .data = {{1, 1}}};
	for (int user = 0; user < 2; user++) {
		for (int index = 0; index < CHANGES; index++) {
			if (make_program(0777) != 0)
				return -1;
			MUST(setxattr("program", XATTR_NAME_CAPS, &capability, sizeof(capability), 0) == 0);
			pid_t child = become(user ? USER : 0, user ? GROUP_OF_USER : 0, false);
			if (child == 0)
				return changes[index].change();
			JOIN(child);
			if (has_capability())
				return fail("%s by %s leaves file capabilities", changes[index].what,
					    user ? "a user" : "root");
		}
	}
	if (make_program(0777) != 0)
		return -1;
	MUST(setxattr("program", XATTR_NAME_CAPS, &capability, sizeof(capability), 0) == 0);
	MUST(chmod("program", 0700) == 0 && has_capability());
	MUST(chown("program", USER, -1) == 0 && !has_capability());
	return 0;
}

static int writing_a_mapping(void)
{
	/* Nobody sees such a write, so the bits stay. */
	if (make_program(06777) != 0)
		return -1;
	pid_t child = become(USER, GROUP_OF_USER, false);
	if (child == 0) {
		int fd = open("program", O_RDWR);
		char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		MUST(map != MAP_FAILED);
		map[0] = 'm';
		MUST(msync(map, 4096, MS_SYNC) == 0);
		return 0;
	}
	JOIN(child);
	MUST_BE(mode_of("program"), 06777);
	return 0;
}

CLASS(setid, "setid", {"changes by an ordinary user clear set-id bits", an_ordinary_user},
      {"changes by root leave them", root}, {"S_ISGID without group execution", setgid_without_execution},
      {"a write through a descriptor opened before", an_older_descriptor}, {"chown", change_of_owner},
      {"chmod by members of the group and others", change_of_mode}, {"file capabilities", file_capabilities},
      {"writes to a mapping", writing_a_mapping});
