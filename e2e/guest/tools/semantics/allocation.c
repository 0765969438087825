// SPDX-License-Identifier: Apache-2.0
/* fallocate(2), holes, and what lseek(2) finds. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>

enum { BLOCK = 65536 };
static char buffer[BLOCK], other[BLOCK];

/* A file of `count` blocks, each filled with its own letter. */
static int lettered(const char *name, int count)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	for (int block = 0; block < count; block++) {
		memset(buffer, 'a' + block, BLOCK);
		if (pwrite(fd, buffer, BLOCK, (off_t)block * BLOCK) != BLOCK)
			return -1;
	}
	return fsync(fd) == 0 ? fd : -1;
}

/* The letters of a file's blocks, '.' for zeros and '?' for a block that is not all the same. */
static const char *letters(int fd)
{
	static char text[64];
	off_t size = lseek(fd, 0, SEEK_END);
	int count = (int)(size / BLOCK);
	for (int block = 0; block < count; block++) {
		if (pread(fd, other, BLOCK, (off_t)block * BLOCK) != BLOCK)
			return "short";
		memset(buffer, other[0], BLOCK);
		text[block] = memcmp(buffer, other, BLOCK) != 0 ? '?' : other[0] == 0 ? '.' : other[0];
	}
	text[count] = '\0';
	return text;
}

#define MUST_READ(fd, expected)                                                                              \
	do {                                                                                                 \
		const char *letters_ = letters(fd);                                                          \
		if (strcmp(letters_, expected) != 0)                                                         \
			return fail("%s:%d: the file is %s, wanted %s", __FILE_NAME__, __LINE__, letters_, expected); \
	} while (0)

static int reserving(void)
{
	int fd = lettered("file", 2);
	struct stat status;
	MUST(fd >= 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8 * BLOCK) == 0);
	MUST(fstat(fd, &status) == 0 && status.st_size == 2 * BLOCK && status.st_blocks * 512 >= 8 * BLOCK);
	MUST(fallocate(fd, 0, BLOCK, 3 * BLOCK) == 0 && fstat(fd, &status) == 0 && status.st_size == 4 * BLOCK);
	MUST_READ(fd, "ab..");
	MUST(fallocate(fd, 0, 0, BLOCK) == 0 && fstat(fd, &status) == 0 && status.st_size == 4 * BLOCK);
	MUST_FAIL(fallocate(fd, 0, 0, 0), EINVAL);
	MUST_FAIL(fallocate(fd, 0, -1, 10), EINVAL);
	MUST_FAIL(fallocate(fd, 0, INT64_MAX - 10, 100), EFBIG);
	MUST_FAIL(fallocate(open("file", O_RDONLY), 0, 0, 10), EBADF);
	MUST_FAIL(fallocate(open(".", O_RDONLY), 0, 0, 10), EBADF);
	return 0;
}

static int punching(void)
{
	int fd = lettered("file", 5);
	/* Truncation drops what a file system keeps in reserve behind the end. */
	MUST(fd >= 0 && ftruncate(fd, 5 * BLOCK) == 0);
	blkcnt_t before = status_of("file").st_blocks;
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK, 2 * BLOCK) == 0);
	MUST_READ(fd, "a..de");
	MUST(status_of("file").st_blocks < before);
	/* Parts of blocks become zeros. */
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * BLOCK + 100, 1000) == 0);
	MUST(pread(fd, other, 2000, 3 * BLOCK) == 2000 && other[99] == 'd' && other[100] == 0 && other[1099] == 0);
	MUST(other[1100] == 'd');
	/* Beyond the end nothing happens. */
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * BLOCK, BLOCK) == 0);
	MUST_BE(status_of("file").st_size, 5 * BLOCK);
	MUST_FAIL(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, BLOCK), EOPNOTSUPP);
	return 0;
}

static int zeroing(void)
{
	int fd = lettered("file", 4);
	/* tmpfs can't. */
	if (fallocate(fd, FALLOC_FL_ZERO_RANGE, BLOCK, BLOCK) != 0 && errno == EOPNOTSUPP)
		return trait("no-zero-range") ? 0 : fail("FALLOC_FL_ZERO_RANGE: %s", strerror(errno));
	MUST_READ(fd, "a.cd");
	MUST(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 3 * BLOCK, 4 * BLOCK) == 0);
	MUST_READ(fd, "a.c.");
	MUST(fallocate(fd, FALLOC_FL_ZERO_RANGE, 3 * BLOCK, 3 * BLOCK) == 0);
	MUST_READ(fd, "a.c...");
	return 0;
}

static int moving(void)
{
	int fd = lettered("file", 4);
	if (trait("fuse")) {
		/* What Linux's FUSE client does not send. */
		MUST_FAIL(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, BLOCK, BLOCK), EOPNOTSUPP);
		MUST_FAIL(fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, BLOCK), EOPNOTSUPP);
		MUST_FAIL(fallocate(fd, FALLOC_FL_UNSHARE_RANGE, BLOCK, BLOCK), EOPNOTSUPP);
		MUST_READ(fd, "abcd");
		return 0;
	}
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, BLOCK, BLOCK) != 0 && errno == EOPNOTSUPP)
		return trait("no-collapse-range") ? 0 : fail("FALLOC_FL_COLLAPSE_RANGE: %s", strerror(errno));
	MUST_READ(fd, "acd");
	MUST(fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, 2 * BLOCK) == 0);
	MUST_READ(fd, "a..cd");
	return 0;
}

static int seeking(void)
{
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	MUST_FAIL(lseek(fd, 0, SEEK_DATA), ENXIO);
	MUST_FAIL(lseek(fd, 0, SEEK_HOLE), ENXIO);
	memset(buffer, 'd', BLOCK);
	enum { ISLAND = 1 << 20 };
	MUST(pwrite(fd, buffer, BLOCK, ISLAND) == BLOCK && ftruncate(fd, 3 * ISLAND) == 0 && fsync(fd) == 0);
	MUST_BE(lseek(fd, 0, SEEK_DATA), ISLAND);
	MUST_BE(lseek(fd, 0, SEEK_HOLE), 0);
	MUST_BE(lseek(fd, ISLAND, SEEK_DATA), ISLAND);
	MUST_BE(lseek(fd, ISLAND, SEEK_HOLE), ISLAND + BLOCK);
	MUST_BE(lseek(fd, ISLAND + 5, SEEK_DATA), ISLAND + 5);
	MUST_BE(lseek(fd, 2 * ISLAND, SEEK_HOLE), 2 * ISLAND);
	MUST_FAIL(lseek(fd, 2 * ISLAND, SEEK_DATA), ENXIO);
	MUST_FAIL(lseek(fd, 3 * ISLAND, SEEK_HOLE), ENXIO);
	MUST_FAIL(lseek(fd, -1, SEEK_DATA), ENXIO);
	MUST(pwrite(fd, "x", 1, 3 * ISLAND) == 1 && fsync(fd) == 0);
	MUST_BE(lseek(fd, 3 * ISLAND, SEEK_HOLE), 3 * ISLAND + 1);
	/* The position is where the last one has gone. */
	MUST_BE(lseek(fd, 0, SEEK_CUR), 3 * ISLAND + 1);
	MUST_BE(lseek(fd, 0, SEEK_END), 3 * ISLAND + 1);
	MUST_FAIL(lseek(fd, 0, 99), EINVAL);
	return 0;
}

static int large(void)
{
	const off_t far = (5LL << 30) + 12345;
	int fd = open("file", O_RDWR | O_CREAT, 0644);
	MUST(pwrite(fd, "near", 4, 0) == 4 && pwrite(fd, "far!", 4, far) == 4 && fsync(fd) == 0);
	struct stat status = status_of("file");
	MUST(status.st_size == far + 4 && status.st_blocks * 512 < 1 << 20);
	MUST(pread(fd, other, 4, far) == 4 && memcmp(other, "far!", 4) == 0);
	MUST(pread(fd, other, 4, 1LL << 32) == 4 && memcmp(other, "\0\0\0\0", 4) == 0);
	off_t data = lseek(fd, 1 << 20, SEEK_DATA);
	MUST(data <= far && data > far - (1 << 20));
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, far & ~4095LL, 8192) == 0);
	MUST(pread(fd, other, 4, far) == 4 && memcmp(other, "\0\0\0\0", 4) == 0);
	MUST(ftruncate(fd, 1LL << 40) == 0 && status_of("file").st_size == 1LL << 40 && ftruncate(fd, 0) == 0);
	return 0;
}

CLASS(allocation, "allocation", {"reserving, KEEP_SIZE", reserving}, {"PUNCH_HOLE", punching}, {"ZERO_RANGE", zeroing},
      {"COLLAPSE_RANGE, INSERT_RANGE", moving}, {"SEEK_DATA, SEEK_HOLE", seeking}, {"beyond 4 GiB", large});
