// SPDX-License-Identifier: GPL-2.0-only
/*
 * A benchmark, and not a test: what an access through a view costs beside the
 * same access to a mapping of the file itself. For each measurement a line
 * "# bench {...}" of JSON: nanoseconds a page, the best of some runs in which
 * view and native mapping take turns: what else the machine does only ever
 * adds. It may do so in every run, so most are taken apart into short blocks,
 * and the best of each block counts.
 *
 * `npm run bench:window` runs it in the rig.
 */
#include <sys/mount.h>
#include <time.h>

#include "memview_test.h"

enum { RUNS = 7, MAPPERS = 3, SEGMENTS = 32000 };
/* Of so little that the disk decides: what else it does is in some of them. */
enum { COLD_RUNS = 28, COLD_TOUCHES = 768 };
#define HUGE		(2 * MIB)
#define SIZE		(4 * MIB)
#define BLOCK		(MIB / 4)
#define BLOCKS		(COLD_SIZE / BLOCK)
#define COLD_SIZE	(16 * MIB)
#define STREAM_SIZE	(32 * MIB)
#define MEMORY		(12 * MIB)
#define PAGES(size)	((size) / PAGE)

#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static const struct kind {
	const char *fs;
	bool large;
	bool disk;
} kinds[] = {
	{ "tmpfs", false, false }, { "tmpfs", true, false },
	{ "memfd", false, false }, { "memfd", true, false },
	{ "ext4", false, true },   { "ext4", true, true },
	{ "xfs", false, true },	   { "xfs", true, true },
	{ "btrfs", false, true },  { "btrfs", true, true },
};

/* ---- Files --------------------------------------------------------------- */

/* A file of @size bytes, written in pieces that decide about its folios. */
static int file_new(const struct kind *kind, size_t size)
{
	size_t piece = kind->large ? 4 * MIB : PAGE;
	char path[256], *data = malloc(piece);
	int fd;

	CHECK(data);
	memset(data, 0x5a, piece);
	if (!strcmp(kind->fs, "memfd")) {
		write_file(SHMEM_ENABLED, kind->large ? "always" : "never");
		fd = memfd_create("memview-bench", MFD_CLOEXEC);
	} else if (!strcmp(kind->fs, "tmpfs")) {
		snprintf(path, sizeof(path), "%s/bench", fs_dir("tmpfs"));
		(void)mkdir(path, 0700);
		CHECK_OK(sys(mount("none", path, "tmpfs", 0,
				   kind->large ? "huge=always" :
						 "huge=never")));
		strcat(path, "/file");
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		path[strlen(path) - strlen("/file")] = '\0';
		CHECK_OK(sys(umount2(path, MNT_DETACH)));
	} else {
		snprintf(path, sizeof(path), "%s/bench", fs_dir(kind->fs));
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		CHECK_OK(sys(unlink(path)));
	}
	CHECK(fd >= 0);
	for (size_t at = 0; at < size; at += piece)
		CHECK_EQ(pwrite(fd, data, piece, (off_t)at), piece);
	/* A huge page that ends with its file is a case of its own. */
	CHECK_EQ(pwrite(fd, data, PAGE, (off_t)size), PAGE);
	CHECK_OK(sys(fsync(fd)));
	free(data);
	return fd;
}

/* Another open file for @fd's inode: read-ahead has its state in there. */
static int reopen(int fd)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	CHECK(again >= 0);
	return again;
}

/* ---- Places -------------------------------------------------------------- */

/* Somewhere to look at a file: through a view, or, if @ctl < 0, directly. */
struct place {
	int ctl;
	int viewfd;
};

/* Addresses of @size bytes where huge pages fit. */
static void *map_aligned(int fd, size_t size)
{
	char *room = mmap(NULL, size + HUGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));

	CHECK(room != MAP_FAILED);
	CHECK_OK(sys(munmap(room, size + HUGE)));
	at = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		  0);
	CHECK(at != MAP_FAILED);
	return at;
}

static void place_show(const struct place *place, int fd, size_t size)
{
	if (place->ctl < 0)
		return;
	/* In the pieces that a guest asks for. */
	for (size_t at = 0; at < size; at += HUGE)
		CHECK_OK(map_fd(place->ctl, fd, at, HUGE, at, RD | WR));
}

static void *place_map(const struct place *place, int fd, size_t size)
{
	return map_aligned(place->ctl >= 0 ? place->viewfd : fd, size);
}

static void place_hide(const struct place *place, size_t size)
{
	if (place->ctl >= 0)
		CHECK_OK(unmap_fd(place->ctl, 0, size));
}

static struct place view_place(unsigned int segments)
{
	struct place place;
	int fd = memfd_create("segments", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_OK(sys(ftruncate(fd, 2 * PAGE)));
	place.ctl = ctl_new(COLD_SIZE + (segments + 1) * PAGE);
	place.viewfd = get_viewfd(place.ctl);
	/* From two pages in turn, and so never one segment. */
	for (unsigned int i = 0; i < segments; i++)
		CHECK_OK(map_fd(place.ctl, fd, i % 2 * PAGE, PAGE,
				COLD_SIZE + i * PAGE, RD));
	close(fd);
	return place;
}

/* ---- Measuring ----------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void touch(char *base, size_t size, bool write)
{
	for (size_t at = 0; at < size; at += PAGE) {
		if (write)
			*(volatile char *)(base + at) = 1;
		else
			(void)*(volatile char *)(base + at);
	}
}

/* Percentage of the mapping at @base that huge entries make up. */
static unsigned int pmd_percent(const void *base, size_t size)
{
	unsigned long from, to, kib, huge = 0;
	bool inside = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from >= (uintptr_t)base &&
				 to <= (uintptr_t)base + size;
		else if (inside &&
			 (sscanf(line, "FilePmdMapped: %lu", &kib) == 1 ||
			  sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1))
			huge += kib;
	}
	fclose(f);
	return (unsigned int)(huge * 1024 * 100 / size);
}

/* By runs; or by blocks, the least of all runs for each. */
struct result {
	uint64_t ns[RUNS];
	uint64_t block[BLOCKS];
	unsigned int pmd;
	long faults;
};

static uint64_t best(const struct result *result)
{
	uint64_t ns = result->ns[0];

	for (unsigned int i = 1; i < RUNS; i++)
		ns = result->ns[i] < ns ? result->ns[i] : ns;
	for (unsigned int i = 0; i < ARRAY_SIZE(result->block); i++)
		ns += result->block[i];
	return ns;
}

static void block_took(struct result *result, unsigned int run, size_t block,
		       uint64_t ns)
{
	uint64_t *least = &result->block[block];

	if (!run || ns < *least)
		*least = ns;
}

static void report(const char *what, const char *how, const struct kind *kind,
		   const char *access, const struct result *native,
		   const struct result *view, unsigned int pages)
{
	note("bench {\"what\":\"%s\",\"how\":\"%s\",\"fs\":\"%s\",\"folios\":\"%s\",\"access\":\"%s\",\"native\":%llu,\"view\":%llu,\"nativePmd\":%u,\"viewPmd\":%u,\"nativeMajor\":%ld,\"viewMajor\":%ld}",
	     what, how, kind->fs, kind->large ? "large" : "small", access,
	     (unsigned long long)best(native) / pages,
	     (unsigned long long)best(view) / pages, native->pmd, view->pmd,
	     native->faults, view->faults);
}

/* Faults that found no page in the cache; rusage counts retries, too. */
static long major_faults(void)
{
	char line[128];
	long count = -1;
	FILE *f = fopen("/proc/vmstat", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "pgmajfault ", 11))
			count = strtol(line + 11, NULL, 10);
	fclose(f);
	CHECK(count >= 0);
	return count;
}

/* The first access to each page of what is in memory. */
static void first_touch(const struct place *place, int fd, bool write,
			unsigned int others, struct result *result,
			unsigned int run)
{
	char *other[MAPPERS], *base;

	CHECK_OK(sys(fsync(fd)));
	place_show(place, fd, SIZE);
	for (unsigned int i = 0; i < others; i++) {
		other[i] = place_map(place, fd, SIZE);
		touch(other[i], SIZE, write);
	}
	base = place_map(place, fd, SIZE);
	for (size_t at = 0; at < SIZE; at += BLOCK) {
		uint64_t begin = now_ns();

		touch(base + at, BLOCK, write);
		block_took(result, run, at / BLOCK, now_ns() - begin);
	}
	result->pmd = pmd_percent(base, SIZE);
	munmap(base, SIZE);
	for (unsigned int i = 0; i < others; i++)
		munmap(other[i], SIZE);
	place_hide(place, SIZE);
}

static const struct place native = { .ctl = -1 };

TEST_LIMIT(bench_first_touch, 1800)
{
	struct place alone = view_place(0), many = view_place(SEGMENTS);
	const struct {
		const char *how;
		const struct place *place;
		unsigned int mappers;
	} hows[] = {
		{ "alone", &alone, 0 },
		{ "32000 segments", &many, 0 },
		{ "4 mappers", &alone, MAPPERS },
	};

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		int fd = file_new(&kinds[k], SIZE);

		for (unsigned int h = 0; h < ARRAY_SIZE(hows); h++)
			for (int write = 0; write < 2; write++) {
				struct result us = { 0 }, them = { 0 };

				for (unsigned int i = 0; i < RUNS; i++) {
					first_touch(&native, fd, write,
						    hows[h].mappers, &them, i);
					first_touch(hows[h].place, fd, write,
						    hows[h].mappers, &us, i);
				}
				report("first touch", hows[h].how, &kinds[k],
				       write ? "write" : "read", &them, &us,
				       PAGES(SIZE));
			}
		close(fd);
	}
}

/* Reads what is not in memory, all in order or some at random. */
static void cold(const struct place *place, int fd, bool random,
		 struct result *result, unsigned int run)
{
	const unsigned int touches = random ? COLD_TOUCHES : PAGES(COLD_SIZE);
	uint64_t state = 88172645463325252ULL, begin;
	int file = reopen(fd);
	long before;
	char *base;

	drop_file(fd);
	place_show(place, file, COLD_SIZE);
	base = place_map(place, file, COLD_SIZE);
	before = major_faults();
	for (unsigned int i = 0; i < BLOCKS; i++) {
		unsigned int to = touches * (i + 1) / BLOCKS;

		begin = now_ns();
		for (unsigned int j = touches * i / BLOCKS; j < to; j++) {
			size_t page = random ?
				rnd(&state) % PAGES(COLD_SIZE) : j;

			(void)*(volatile char *)(base + page * PAGE);
		}
		block_took(result, run, i, now_ns() - begin);
	}
	result->faults = major_faults() - before;
	munmap(base, COLD_SIZE);
	place_hide(place, COLD_SIZE);
	close(file);
}

TEST_LIMIT(bench_cold, 1800)
{
	struct place view = view_place(0);

	/* A view keeps a file, and its read-ahead's state, for a moment. */
	keep_unused_files("0");
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		int fd;

		if (!kinds[k].disk || kinds[k].large)
			continue;
		fd = file_new(&kinds[k], COLD_SIZE);
		for (int random = 0; random < 2; random++) {
			struct result us = { 0 }, them = { 0 };

			/* Neither is to come first all the time. */
			for (unsigned int i = 0; i < COLD_RUNS; i++) {
				if (i % 2)
					cold(&view, fd, random, &us, i);
				cold(&native, fd, random, &them, i);
				if (i % 2 == 0)
					cold(&view, fd, random, &us, i);
				sleep_ms(20);
			}
			report("cold read", random ? "random" : "sequential",
			       &kinds[k], "read", &them, &us,
			       random ? COLD_TOUCHES : PAGES(COLD_SIZE));
		}
		close(fd);
	}
	keep_unused_files("250");
}

/*
 * Writes back what was written through a mapping, as fsync does. All at once:
 * asked for a part, some file systems write more.
 */
static void sync_written(const struct place *place, int fd,
			 struct result *result, unsigned int run)
{
	const unsigned int all = SYNC_FILE_RANGE_WAIT_BEFORE |
				 SYNC_FILE_RANGE_WRITE |
				 SYNC_FILE_RANGE_WAIT_AFTER;
	uint64_t begin;
	char *base;

	CHECK_OK(sys(fsync(fd)));
	place_show(place, fd, SIZE);
	base = place_map(place, fd, SIZE);
	touch(base, SIZE, true);
	begin = now_ns();
	CHECK_OK(sys(sync_file_range(fd, 0, SIZE, all)));
	result->ns[run] = now_ns() - begin;
	munmap(base, SIZE);
	place_hide(place, SIZE);
}

TEST_LIMIT(bench_fsync, 1800)
{
	struct place view = view_place(0);

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct result us = { 0 }, them = { 0 };
		int fd;

		if (!kinds[k].disk)
			continue;
		fd = file_new(&kinds[k], SIZE);
		for (unsigned int i = 0; i < RUNS; i++) {
			sync_written(&native, fd, &them, i);
			sync_written(&view, fd, &us, i);
		}
		report("fsync", "4 MiB written", &kinds[k], "write", &them,
		       &us, PAGES(SIZE));
		close(fd);
	}
}

/* Reads a file that memory has no room for past what is in use all the time. */
static void stream_past(const struct place *place, int hot, int stream,
			struct result *result, unsigned int run)
{
	static char data[256 * 1024];
	uint64_t begin;
	long before;
	char *base;

	drop_file(hot);
	drop_file(stream);
	place_show(place, hot, SIZE);
	base = place_map(place, hot, SIZE);
	for (unsigned int i = 0; i < 4; i++)
		touch(base, SIZE, false);
	before = major_faults();
	begin = now_ns();
	for (size_t at = 0; at < STREAM_SIZE; at += sizeof(data)) {
		CHECK_EQ(pread(stream, data, sizeof(data), (off_t)at),
			 sizeof(data));
		touch(base, SIZE, false);
	}
	result->ns[run] = now_ns() - begin;
	result->faults += major_faults() - before;
	munmap(base, SIZE);
	place_hide(place, SIZE);
}

TEST_LIMIT(bench_hot_set, 1800)
{
	struct place view = view_place(0);
	char limit[256], bytes[32];

	snprintf(limit, sizeof(limit), "%s/memory.max", cgroup_enter());
	snprintf(bytes, sizeof(bytes), "%lu", (unsigned long)MEMORY);
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct result us = { 0 }, them = { 0 };
		int hot, stream;

		if (!kinds[k].disk || kinds[k].large)
			continue;
		/* Writing it takes more room than reading. */
		write_file(limit, "max");
		hot = file_new(&kinds[k], SIZE);
		stream = file_new(&kinds[k], STREAM_SIZE);
		write_file(limit, bytes);
		for (unsigned int i = 0; i < RUNS; i++) {
			stream_past(&native, hot, stream, &them, i);
			stream_past(&view, hot, stream, &us, i);
		}
		report("hot set", "32 MiB read past 4 MiB in 12 MiB",
		       &kinds[k], "read", &them, &us, PAGES(SIZE));
		close(stream);
		close(hot);
	}
}
