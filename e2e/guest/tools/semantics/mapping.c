// SPDX-License-Identifier: Apache-2.0
/* mmap(2) of files, beside read, write and truncate. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

enum { PAGE = 4096, SIZE = 1 << 20 };

static sigjmp_buf out;

static void on_bus_error(int signal)
{
	(void)signal;
	siglongjmp(out, 1);
}

/* Whether a read of that byte is a SIGBUS. */
static bool bus_error(const volatile char *at)
{
	struct sigaction action = {.sa_handler = on_bus_error}, old;
	bool failed = true;
	sigaction(SIGBUS, &action, &old);
	if (sigsetjmp(out, 1) == 0) {
		(void)*at;
		failed = false;
	}
	sigaction(SIGBUS, &old, NULL);
	return failed;
}

static char *map_of(int fd, int protection, int flags)
{
	return mmap(NULL, SIZE, protection, flags, fd, 0);
}

static int shared(void)
{
	char text[8];
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	MUST(ftruncate(fd, SIZE) == 0);
	char *map = map_of(fd, PROT_READ | PROT_WRITE, MAP_SHARED), *second = map_of(fd, PROT_READ, MAP_SHARED);
	MUST(map != MAP_FAILED && second != MAP_FAILED);
	memcpy(map + PAGE - 2, "span", 4);
	MUST(pread(fd, text, 4, PAGE - 2) == 4 && memcmp(text, "span", 4) == 0 && memcmp(second + PAGE - 2, "span", 4) == 0);
	MUST(pwrite(fd, "file", 4, 5 * PAGE) == 4 && memcmp(map + 5 * PAGE, "file", 4) == 0);
	/* A write whose data comes from a mapping of the same file, and a read that goes into one. */
	MUST(pwrite(fd, map + PAGE - 2, 4, 7 * PAGE) == 4 && memcmp(second + 7 * PAGE, "span", 4) == 0);
	MUST(pread(fd, map + 9 * PAGE, 4, 5 * PAGE) == 4 && memcmp(second + 9 * PAGE, "file", 4) == 0);
	/* Between processes. */
	pid_t child = become(0, 0, false);
	if (child == 0) {
		map[SIZE - 1] = 'c';
		return 0;
	}
	JOIN(child);
	MUST(second[SIZE - 1] == 'c' && pread(fd, text, 1, SIZE - 1) == 1 && text[0] == 'c');
	MUST(msync(map, SIZE, MS_SYNC) == 0 && msync(map, SIZE, MS_ASYNC) == 0 && munmap(map, SIZE) == 0);
	MUST(fsync(fd) == 0 && pread(fd, text, 4, PAGE - 2) == 4 && memcmp(text, "span", 4) == 0);
	return 0;
}

static int private(void)
{
	char text[4];
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	MUST(ftruncate(fd, SIZE) == 0 && pwrite(fd, "old", 3, 0) == 3);
	char *map = map_of(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	MUST(map != MAP_FAILED && memcmp(map, "old", 3) == 0);
	memcpy(map, "own", 3);
	MUST(pread(fd, text, 3, 0) == 3 && memcmp(text, "old", 3) == 0);
	MUST(pwrite(fd, "new", 3, 0) == 3 && memcmp(map, "own", 3) == 0);
	return 0;
}

static int ends_of_files(void)
{
	char text[PAGE];
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	memset(text, 'x', sizeof(text));
	MUST(pwrite(fd, text, 100, 0) == 100);
	char *map = map_of(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	MUST(map != MAP_FAILED && map[99] == 'x' && map[100] == 0 && map[PAGE - 1] == 0);
	MUST(bus_error(map + PAGE) && bus_error(map + SIZE - 1));
	/* What a write adds is there at once. */
	MUST(pwrite(fd, "more", 4, 3 * PAGE) == 4 && memcmp(map + 3 * PAGE, "more", 4) == 0 && map[PAGE] == 0);
	/* What truncation takes is gone, and does not come back. */
	MUST(ftruncate(fd, 50) == 0 && bus_error(map + 3 * PAGE) && map[50] == 0 && map[49] == 'x');
	MUST(ftruncate(fd, 4 * PAGE) == 0 && map[50] == 0 && map[99] == 0 && map[3 * PAGE] == 0);
	MUST(pread(fd, text, PAGE, 0) == PAGE && text[49] == 'x' && text[50] == 0);
	map[3 * PAGE] = 'm';
	MUST(pread(fd, text, 1, 3 * PAGE) == 1 && text[0] == 'm');
	return 0;
}

static int holes(void)
{
	char text[4];
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	MUST(ftruncate(fd, SIZE) == 0);
	char *map = map_of(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	MUST(map != MAP_FAILED && map[0] == 0 && map[SIZE / 2] == 0);
	memcpy(map + SIZE / 2, "hole", 4);
	MUST(pread(fd, text, 4, SIZE / 2) == 4 && memcmp(text, "hole", 4) == 0);
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SIZE / 2, PAGE) == 0 && map[SIZE / 2] == 0);
	MUST(pread(fd, text, 4, SIZE / 2) == 4 && memcmp(text, "\0\0\0\0", 4) == 0);
	map[SIZE / 2] = 'r';
	MUST(pread(fd, text, 1, SIZE / 2) == 1 && text[0] == 'r');
	return 0;
}

static int protections(void)
{
	MUST(make_file("file", 0644, "text") == 0);
	int reader = open("file", O_RDONLY), writer = open("file", O_WRONLY);
	MUST(map_of(reader, PROT_READ | PROT_WRITE, MAP_SHARED) == MAP_FAILED && errno == EACCES);
	MUST(map_of(writer, PROT_READ, MAP_SHARED) == MAP_FAILED && errno == EACCES);
	char *map = map_of(reader, PROT_READ, MAP_SHARED);
	MUST(map != MAP_FAILED);
	MUST_FAIL(mprotect(map, PAGE, PROT_READ | PROT_WRITE), EACCES);
	MUST(mprotect(map, PAGE, PROT_READ | PROT_EXEC) == 0 && close(reader) == 0 && memcmp(map, "text", 4) == 0);
	MUST(map_of(open(".", O_RDONLY), PROT_READ, MAP_SHARED) == MAP_FAILED && errno == ENODEV);
	return 0;
}

CLASS(mapping, "mapping", {"shared, beside read and write", shared}, {"private", private}, {"ends of files", ends_of_files},
      {"holes", holes}, {"protections", protections});
