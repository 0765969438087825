// SPDX-License-Identifier: GPL-2.0-only
/*
 * A benchmark, and not a test: what an access through a view costs beside the
 * same access to a mapping of the file itself. For each measurement a line
 * "# bench {...}" of JSON: nanoseconds a page (or for all, as it says), the
 * best of some runs in which view and native mapping take turns: what else the
 * machine does only ever adds.
 *
 * `npm run bench:window` runs it in the rig.
 */
#include <sys/mount.h>
#include <time.h>

#include "memview_test.h"

enum { RUNS = 7, MAPPERS = 3, SEGMENTS = 32000, COLD_TOUCHES = 1500 };
#define HUGE		(2 * MIB)
#define SIZE		(8 * MIB)
#define COLD_SIZE	(32 * MIB)
#define PAGES(size)	((size) / PAGE)

#define ANCHOR_IDLE	"/sys/module/memory_view/parameters/anchor_idle_ms"
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
	if (place->ctl >= 0)
		CHECK_OK(map_fd(place->ctl, fd, 0, size, 0, RD | WR));
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

struct result {
	uint64_t ns[RUNS];
	unsigned int pmd;
	long faults;
};

static uint64_t best(const struct result *result)
{
	uint64_t ns = result->ns[0];

	for (unsigned int i = 1; i < RUNS; i++)
		ns = result->ns[i] < ns ? result->ns[i] : ns;
	return ns;
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
	uint64_t begin;

	CHECK_OK(sys(fsync(fd)));
	place_show(place, fd, SIZE);
	for (unsigned int i = 0; i < others; i++) {
		other[i] = place_map(place, fd, SIZE);
		touch(other[i], SIZE, write);
	}
	base = place_map(place, fd, SIZE);
	begin = now_ns();
	touch(base, SIZE, write);
	result->ns[run] = now_ns() - begin;
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
	uint64_t begin, state = 88172645463325252ULL;
	int file = reopen(fd);
	long before;
	char *base;

	drop_file(fd);
	place_show(place, file, COLD_SIZE);
	base = place_map(place, file, COLD_SIZE);
	before = major_faults();
	begin = now_ns();
	if (random)
		for (unsigned int i = 0; i < COLD_TOUCHES; i++)
			(void)*(volatile char *)(base +
				rnd(&state) % PAGES(COLD_SIZE) * PAGE);
	else
		touch(base, COLD_SIZE, false);
	result->ns[run] = now_ns() - begin;
	result->faults = major_faults() - before;
	munmap(base, COLD_SIZE);
	place_hide(place, COLD_SIZE);
	close(file);
}

TEST_LIMIT(bench_cold, 1800)
{
	struct place view = view_place(0);

	/* A view keeps a file, and its read-ahead's state, for a moment. */
	write_file(ANCHOR_IDLE, "0");
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		int fd;

		if (!kinds[k].disk || kinds[k].large)
			continue;
		fd = file_new(&kinds[k], COLD_SIZE);
		for (int random = 0; random < 2; random++) {
			struct result us = { 0 }, them = { 0 };

			for (unsigned int i = 0; i < RUNS; i++) {
				cold(&native, fd, random, &them, i);
				cold(&view, fd, random, &us, i);
				sleep_ms(20);
			}
			report("cold read", random ? "random" : "sequential",
			       &kinds[k], "read", &them, &us,
			       random ? COLD_TOUCHES : PAGES(COLD_SIZE));
		}
		close(fd);
	}
	write_file(ANCHOR_IDLE, "250");
}

/* fsync of what was written through a mapping. */
static void sync_written(const struct place *place, int fd,
			 struct result *result, unsigned int run)
{
	uint64_t begin;
	char *base;

	CHECK_OK(sys(fsync(fd)));
	place_show(place, fd, SIZE);
	base = place_map(place, fd, SIZE);
	touch(base, SIZE, true);
	begin = now_ns();
	CHECK_OK(sys(fsync(fd)));
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
		report("fsync", "8 MiB written", &kinds[k], "write", &them,
		       &us, 1);
		close(fd);
	}
}
