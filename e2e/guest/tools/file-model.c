// SPDX-License-Identifier: Apache-2.0
/*
 * Random operations on two files, each also done to a model in memory; what the files hold must be what the model holds.
 *
 *   file-model [-s SEED] [-n OPERATIONS] [-l LARGEST-SIZE] DIRECTORY
 *
 * The seed is printed; with the same seed, number and size the same operations come again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 2, PAGE = 4096, KEPT = 24 };

static struct file {
	char name[16];
	int fd;
	unsigned char *model;
	size_t size;
} files[FILES];

static size_t largest = 5 << 20;
static unsigned char *buffer;
static uint64_t state;
static unsigned long operation;
static char history[KEPT][120];

static uint64_t next_random(void)
{
	/* SplitMix64 */
	uint64_t value = state += 0x9e3779b97f4a7c15;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
	value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
	return value ^ (value >> 31);
}

static size_t below(size_t limit) { return limit == 0 ? 0 : (size_t)(next_random() % limit); }

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(history[operation % KEPT], sizeof(history[0]), format, args);
	va_end(args);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list args;
	int error = errno;
	printf("operation %lu: ", operation);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(" (errno: %s)\nthe last operations:\n", strerror(error));
	for (unsigned long index = operation < KEPT ? 0 : operation - KEPT + 1; index <= operation; index++)
		printf("  %lu %s\n", index, history[index % KEPT]);
	exit(1);
}

static void same(const struct file *file, const unsigned char *bytes, size_t offset, size_t length, const char *how)
{
	for (size_t index = 0; index < length; index++)
		if (bytes[index] != file->model[offset + index])
			die("%s of %s: byte 0x%zx is %02x, the model has %02x; size 0x%zx", how, file->name,
			    offset + index, bytes[index], file->model[offset + index], file->size);
}

static void check_size(const struct file *file)
{
	struct stat status;
	if (fstat(file->fd, &status) != 0 || (size_t)status.st_size != file->size)
		die("%s has size 0x%llx, the model 0x%zx", file->name, (long long)status.st_size, file->size);
}

static void check_all(const struct file *file)
{
	check_size(file);
	if (pread(file->fd, buffer, largest, 0) != (ssize_t)file->size)
		die("a short read of all of %s", file->name);
	same(file, buffer, 0, file->size, "read");
}

static void resize(struct file *file, size_t size)
{
	if (size < file->size)
		memset(file->model + size, 0, file->size - size);
	file->size = size;
}

static void fill(size_t length)
{
	uint64_t value = next_random();
	for (size_t index = 0; index < length; index++)
		buffer[index] = (unsigned char)(value >> (index % 8 * 8)) ^ (unsigned char)(index >> 8);
}

/* Mostly small, sometimes up to everything; at places that lie around ranges and pages more often than others. */
static size_t some_length(size_t most)
{
	size_t length = below(4) == 0 ? below(most) : below(most < 20000 ? most : 20000);
	return length == 0 ? 1 : length;
}

static size_t some_offset(void)
{
	size_t offset = below(largest);
	if (below(3) == 0)
		offset &= ~(size_t)(PAGE - 1);
	if (below(8) == 0)
		offset = below(largest >> 21) << 21;
	return offset;
}

static void read_some(struct file *file, bool mapped)
{
	if (file->size == 0)
		return;
	size_t offset = below(file->size), length = some_length(file->size - offset);
	note("%s %s 0x%zx+0x%zx", mapped ? "map-read" : "read", file->name, offset, length);
	if (!mapped) {
		if (pread(file->fd, buffer, length, (off_t)offset) != (ssize_t)length)
			die("short read");
		same(file, buffer, offset, length, "read");
		return;
	}
	size_t in_page = offset % PAGE;
	unsigned char *map = mmap(NULL, in_page + length, PROT_READ, MAP_SHARED, file->fd, (off_t)(offset - in_page));
	if (map == MAP_FAILED)
		die("mmap");
	same(file, map + in_page, offset, length, "mapping");
	munmap(map, in_page + length);
}

static void write_some(struct file *file, bool mapped)
{
	size_t offset = some_offset(), length = some_length(largest - offset);
	if (mapped) {
		if (file->size == 0)
			return;
		offset = below(file->size);
		length = some_length(file->size - offset);
	}
	note("%s %s 0x%zx+0x%zx", mapped ? "map-write" : "write", file->name, offset, length);
	fill(length);
	memcpy(file->model + offset, buffer, length);
	if (!mapped) {
		if (pwrite(file->fd, buffer, length, (off_t)offset) != (ssize_t)length)
			die("short write");
		if (offset + length > file->size)
			file->size = offset + length;
		return;
	}
	size_t in_page = offset % PAGE;
	unsigned char *map =
	    mmap(NULL, in_page + length, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, (off_t)(offset - in_page));
	if (map == MAP_FAILED)
		die("mmap");
	memcpy(map + in_page, buffer, length);
	if (below(3) == 0 && msync(map, in_page + length, MS_SYNC) != 0)
		die("msync");
	munmap(map, in_page + length);
}

static void direct(struct file *file, bool writes)
{
	size_t offset = some_offset() & ~(size_t)(PAGE - 1), length = (below(16) + 1) * PAGE;
	if (offset + length > largest)
		return;
	note("direct %s %s 0x%zx+0x%zx", writes ? "write" : "read", file->name, offset, length);
	int fd = open(file->name, O_RDWR | O_DIRECT);
	if (fd < 0)
		die("open");
	if (writes) {
		fill(length);
		memcpy(file->model + offset, buffer, length);
		if (pwrite(fd, buffer, length, (off_t)offset) != (ssize_t)length)
			die("short write");
		if (offset + length > file->size)
			file->size = offset + length;
	} else {
		ssize_t expected = offset >= file->size ? 0 : (ssize_t)(file->size - offset < length ? file->size - offset : length);
		if (pread(fd, buffer, length, (off_t)offset) != expected)
			die("short read");
		same(file, buffer, offset, (size_t)expected, "direct read");
	}
	close(fd);
}

static void truncate_file(struct file *file)
{
	size_t size = below(6) == 0 ? 0 : some_offset();
	note("truncate %s 0x%zx -> 0x%zx", file->name, file->size, size);
	if (ftruncate(file->fd, (off_t)size) != 0)
		die("ftruncate");
	resize(file, size);
}

static void allocate(struct file *file, int mode)
{
	size_t offset = some_offset(), length = some_length(largest - offset);
	note("fallocate mode %d %s 0x%zx+0x%zx", mode, file->name, offset, length);
	if (fallocate(file->fd, mode, (off_t)offset, (off_t)length) != 0) {
		/* tmpfs has no ZERO_RANGE. */
		if (errno == EOPNOTSUPP && (mode & FALLOC_FL_ZERO_RANGE) != 0)
			return;
		die("fallocate");
	}
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
		memset(file->model + offset, 0, length);
	if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && offset + length > file->size)
		file->size = offset + length;
}

static void copy(struct file *from, struct file *to)
{
	if (from->size == 0)
		return;
	size_t in = below(from->size), length = some_length(from->size - in), out = some_offset();
	if (out + length > largest || (from == to && (in < out ? out - in : in - out) < length))
		return;
	note("copy %s 0x%zx+0x%zx -> %s 0x%zx", from->name, in, length, to->name, out);
	for (size_t done = 0; done < length;) {
		off_t source = (off_t)(in + done), target = (off_t)(out + done);
		ssize_t copied = copy_file_range(from->fd, &source, to->fd, &target, length - done, 0);
		if (copied <= 0)
			die("copy_file_range");
		done += (size_t)copied;
	}
	memmove(to->model + out, from->model + in, length);
	if (out + length > to->size)
		to->size = out + length;
}

static void reopen(struct file *file)
{
	note("reopen %s", file->name);
	if (close(file->fd) != 0 || (file->fd = open(file->name, O_RDWR)) < 0)
		die("reopen");
}

static void forget(struct file *file)
{
	note("fsync and drop %s", file->name);
	if (fsync(file->fd) != 0 || posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
		die("fsync");
}

static void one(void)
{
	struct file *file = &files[below(FILES)];
	switch (below(16)) {
	case 0:
	case 1:
		return read_some(file, false);
	case 2:
	case 3:
		return read_some(file, true);
	case 4:
	case 5:
		return write_some(file, false);
	case 6:
	case 7:
		return write_some(file, true);
	case 8:
		return direct(file, below(2) == 0);
	case 9:
		return truncate_file(file);
	case 10:
		return allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	case 11:
		return allocate(file, below(2) == 0 ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	case 12:
		return allocate(file, below(2) == 0 ? 0 : FALLOC_FL_KEEP_SIZE);
	case 13:
		return copy(file, &files[below(FILES)]);
	case 14:
		return forget(file);
	default:
		return reopen(file);
	}
}

int main(int argc, char **argv)
{
	unsigned long operations = 2000;
	state = (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	for (int option; (option = getopt(argc, argv, "s:n:l:")) != -1;) {
		if (option == 's')
			state = strtoull(optarg, NULL, 0);
		else if (option == 'n')
			operations = strtoul(optarg, NULL, 0);
		else if (option == 'l')
			largest = strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (optind + 1 != argc || chdir(argv[optind]) != 0) {
		fprintf(stderr, "usage: file-model [-s SEED] [-n OPERATIONS] [-l LARGEST-SIZE] DIRECTORY\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("file-model -s %llu -n %lu -l %zu\n", (unsigned long long)state, operations, largest);
	buffer = aligned_alloc(PAGE, (largest + PAGE) & ~(size_t)(PAGE - 1));
	for (int index = 0; index < FILES; index++) {
		struct file *file = &files[index];
		snprintf(file->name, sizeof(file->name), "model-%d", index);
		file->model = calloc(1, largest);
		file->fd = open(file->name, O_RDWR | O_CREAT | O_EXCL, 0644);
		if (file->fd < 0 || file->model == NULL || buffer == NULL)
			die("%s", file->name);
	}
	for (operation = 0; operation < operations; operation++) {
		one();
		check_size(&files[0]);
		check_size(&files[1]);
		if (operation % 100 == 99)
			for (int index = 0; index < FILES; index++)
				check_all(&files[index]);
	}
	for (int index = 0; index < FILES; index++) {
		note("the end");
		check_all(&files[index]);
		forget(&files[index]);
		check_all(&files[index]);
	}
	printf("ok\n");
	return 0;
}
