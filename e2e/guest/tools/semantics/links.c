// SPDX-License-Identifier: Apache-2.0
/* Hard and symbolic links, device nodes, names. */
#define _GNU_SOURCE
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static int hard(void)
{
	MUST(make_file("first", 0644, "text") == 0 && link("first", "second") == 0 && mkdir("dir", 0755) == 0);
	MUST(status_of("first").st_ino == status_of("second").st_ino && status_of("first").st_nlink == 2);
	MUST(chmod("first", 0600) == 0 && mode_of("second") == 0600);
	int fd = open("second", O_WRONLY | O_TRUNC);
	MUST(write(fd, "changed", 7) == 7 && holds("first", "changed") && status_of("first").st_size == 7);
	MUST(unlink("first") == 0 && status_of("second").st_nlink == 1 && holds("second", "changed"));
	MUST_FAIL(link("second", "second"), EEXIST);
	MUST_FAIL(link("dir", "dir2"), EPERM);
	MUST_FAIL(link("none", "other"), ENOENT);
	MUST_FAIL(link("second", "none/other"), ENOENT);
	MUST(symlink("second", "soft") == 0 && link("soft", "soft2") == 0 && S_ISLNK(status_of("soft2").st_mode));
	MUST(linkat(AT_FDCWD, "soft", AT_FDCWD, "through", AT_SYMLINK_FOLLOW) == 0 && holds("through", "changed"));
	MUST(mkfifo("fifo", 0600) == 0 && link("fifo", "fifo2") == 0 && status_of("fifo2").st_nlink == 2);
	return 0;
}

static int symbolic(void)
{
	static char target[1001], read_target[5000];
	memset(target, 't', sizeof(target) - 1);
	MUST(symlink("target", "link") == 0 && readlink("link", read_target, sizeof(read_target)) == 6);
	MUST(readlink("link", read_target, 3) == 3 && status_of("link").st_size == 6);
	MUST(symlink(target, "long") == 0 && readlink("long", read_target, sizeof(read_target)) == 1000);
	MUST(memcmp(target, read_target, 1000) == 0);
	MUST_FAIL(symlink("", "empty"), ENOENT);
	MUST_FAIL(symlink("x", "link"), EEXIST);
	MUST_FAIL(readlink(".", read_target, 10), EINVAL);
	MUST(symlink("loop", "loop") == 0);
	MUST_FAIL(open("loop", O_RDONLY), ELOOP);
	MUST_FAIL(open("loop/x", O_RDONLY), ELOOP);
	MUST(mkdir("dir", 0755) == 0 && symlink("../file", "dir/up") == 0 && make_file("file", 0644, "up") == 0);
	MUST(holds("dir/up", "up"));
	return 0;
}

static int nodes(void)
{
	MUST(mknod("null", S_IFCHR | 0666, makedev(1, 3)) == 0 && mknod("large", S_IFBLK | 0600, makedev(259, 0x12345)) == 0);
	MUST(S_ISCHR(status_of("null").st_mode) && status_of("null").st_rdev == makedev(1, 3));
	MUST(S_ISBLK(status_of("large").st_mode) && status_of("large").st_rdev == makedev(259, 0x12345));
	MUST(mknod("plain", S_IFREG | 0640, 0) == 0 && status_of("plain").st_size == 0 && S_ISREG(status_of("plain").st_mode));
	int fd = open("null", O_WRONLY);
	MUST(fd >= 0 && write(fd, "x", 1) == 1);
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 1) == 0);
	MUST(S_ISSOCK(status_of("socket").st_mode) && connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
	return 0;
}

static int names(void)
{
	char name[300];
	for (int index = 0; index < 255; index++)
		name[index] = (char)(index + 1 == '/' ? 'x' : index + 1);
	name[255] = 0;
	MUST(make_file(name, 0644, "odd") == 0 && holds(name, "odd") && rename(name, "even") == 0 && rename("even", name) == 0);
	memset(name, 'n', 256);
	name[256] = 0;
	MUST_FAIL(open(name, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
	MUST_FAIL(mkdir(name, 0700), ENAMETOOLONG);
	MUST_FAIL(symlink("x", name), ENAMETOOLONG);
	MUST_FAIL(access(name, F_OK), ENAMETOOLONG);
	MUST_FAIL(open("", O_RDONLY), ENOENT);
	struct statvfs status;
	MUST(statvfs(".", &status) == 0 && status.f_namemax == 255 && status.f_blocks >= status.f_bfree && status.f_bsize > 0);
	return 0;
}

CLASS(links, "links", {"hard", hard}, {"symbolic", symbolic}, {"nodes and sockets", nodes}, {"names", names});
