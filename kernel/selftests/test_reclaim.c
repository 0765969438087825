// SPDX-License-Identifier: GPL-2.0-only
/*
 * No page is pinned: pages that a view maps can be reclaimed and swapped out,
 * and come back with what was written to them.
 */
#include <sys/syscall.h>

#include "memview_test.h"

enum { PAGES = 512 };
#define SIZE	(PAGES * PAGE)

static unsigned int resident(int fd)
{
	static unsigned char map[PAGES];
	unsigned int count = 0;
	void *at = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

	CHECK(at != MAP_FAILED);
	CHECK_OK(sys(mincore(at, SIZE, map)));
	CHECK_OK(sys(munmap(at, SIZE)));
	for (unsigned int i = 0; i < PAGES; i++)
		count += map[i] & 1;
	return count;
}

static void reclaim_until(int fd, unsigned int goal)
{
	unsigned int now = resident(fd), before = now;

	/* The first passes may only age what is mapped. */
	for (unsigned int i = 0; i < 40 && now > goal; i++) {
		(void)cgroup_reclaim(SIZE);
		now = resident(fd);
	}
	note("%u of %u pages left in memory", now, before);
	if (now > goal)
		FAIL("pages that a view maps are not reclaimed");
}

TEST_EACH_FS_LIMIT(reclaimed_pages_come_back, 60)
{
	int ctl, fd;
	void *view;

	cgroup_enter();
	fd = backing_new(1, PAGES);
	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int round = 1; round <= 2; round++) {
		for (unsigned int i = 0; i < PAGES; i++) {
			must_write(AT(view, i * PAGE + 8),
				   stamp(1, i, round));
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
		}
		/* A page cache page has to be clean to go at once. */
		CHECK_OK(sys(fsync(fd)));
		reclaim_until(fd, PAGES / 4);
		for (unsigned int i = 0; i < PAGES; i++) {
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
			CHECK_EQ(must_read(AT(view, i * PAGE + 8)),
				 stamp(1, i, round));
		}
	}
	CHECK_EQ(get_info(ctl).segments, 1);
}

/* Dirty pages under pressure: written back by reclaim, not lost. */
TEST_EACH_FS_LIMIT(dirty_pages_under_pressure, 60)
{
	int ctl, fd;
	void *view;
	uint64_t word;

	cgroup_enter();
	fd = backing_new(1, PAGES);
	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int round = 1; round <= 2; round++) {
		for (unsigned int i = 0; i < PAGES; i++) {
			must_write(AT(view, i * PAGE), stamp(2, i, round));
			if (i % 256 == 255)
				(void)cgroup_reclaim(SIZE / 2);
		}
		for (unsigned int i = 0; i < PAGES; i++)
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(2, i, round));
	}
	CHECK_OK(sys(fsync(fd)));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	drop_caches();
	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQ(pread(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(word, stamp(2, i, 2));
	}
}

/* drop_caches takes clean pages that only a view maps once they are unmapped;
 * while mapped, what it does must not show.
 */
TEST_EACH_FS(drop_caches_is_harmless)
{
	int ctl = ctl_new(64 * PAGE);
	int fd = backing_new(1, 64);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, 64 * PAGE, 0, RD | WR));
	view = view_mmap(ctl, 64 * PAGE, PROT_READ | PROT_WRITE);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 64; i++) {
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
			must_write(AT(view, i * PAGE + 8), round);
		}
		if (round & 1)
			CHECK_OK(sys(fsync(fd)));
		drop_caches();
		(void)!posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		for (unsigned int i = 0; i < 64; i++)
			CHECK_EQ(must_read(AT(view, i * PAGE + 8)), round);
	}
}

static uint64_t swap_field(const char *name)
{
	char line[256];
	uint64_t kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			kib = strtoull(line + strlen(name) + 1, NULL, 10);
	fclose(f);
	return kib;
}

static void swap_round(const char *fs)
{
	uint64_t before, after, value;
	int ctl, fd;
	void *view;

	cgroup_enter();
	CHECK(swap_field("SwapTotal") > 0);
	fd = backing_new_on(fs, 1, PAGES);
	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < PAGES; i++)
		must_write(AT(view, i * PAGE + 16), stamp(4, i, 9));
	before = swap_field("SwapFree");
	reclaim_until(fd, PAGES / 8);
	after = swap_field("SwapFree");
	note("swap grew by %lld KiB", (long long)(before - after));
	CHECK(before - after >= PAGES / 2 * (PAGE / 1024));
	/* The view's pages were taken out of the page tables, too. */
	CHECK(!pfn_of(AT(view, 0)) || !pfn_of(AT(view, SIZE / 2)) ||
	      !pfn_of(AT(view, SIZE - PAGE)));
	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
		CHECK_EQ(must_read(AT(view, i * PAGE + 16)), stamp(4, i, 9));
	}
	/* Out again, and truncated while it is out. */
	reclaim_until(fd, PAGES / 8);
	CHECK_OK(sys(ftruncate(fd, SIZE / 2)));
	must_sigbus(AT(view, SIZE / 2));
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	/* Unmapped while it is out. */
	reclaim_until(fd, PAGES / 16);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	must_sigbus(view);
	CHECK_EQ(pread(fd, &value, 8, 16), 8);
	CHECK_EQ(value, stamp(4, 0, 9));
}

TEST_LIMIT(swap_tmpfs, 60)
{
	swap_round("tmpfs");
}

TEST_LIMIT(swap_memfd, 60)
{
	swap_round("memfd");
}
