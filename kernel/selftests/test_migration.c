// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that a view maps can be migrated (compaction, soft offlining), also
 * while readers and writers are at work, and no write is lost on the way.
 */
#include <pthread.h>

#include "memview_test.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

/*
 * Soft offlining moves the page at @addr to another frame; it wants a mapping
 * that the kernel can walk, so the file itself is mapped for it.
 */
static bool move_page(void *direct, unsigned int page)
{
	volatile char *at = AT(direct, page * PAGE);
	int ret;

	(void)*at;
	ret = madvise((void *)at, PAGE, MADV_SOFT_OFFLINE);
	if (ret && (errno == EINVAL || errno == EPERM))
		FAIL("MADV_SOFT_OFFLINE: %s (CONFIG_MEMORY_FAILURE?)",
		     strerror(errno));
	return !ret;
}

TEST_EACH_FS(moved_page_is_followed)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	unsigned int moved = 0;
	void *view, *direct;

	CHECK_OK(sys(fsync(fd)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	direct = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(direct != MAP_FAILED);
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t before, after;

		/* Writeback of the page clears its entry. */
		do {
			must_write(AT(view, i * PAGE + 8), stamp(1, i, 1));
			before = pfn_of(AT(view, i * PAGE));
		} while (!before);
		if (!move_page(direct, i))
			continue;
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
		CHECK_EQ(must_read(AT(view, i * PAGE + 8)), stamp(1, i, 1));
		after = pfn_of(AT(view, i * PAGE));
		if (after == before)
			FAIL("page %u still maps the offlined frame", i);
		moved++;
		must_write(AT(view, i * PAGE + 16), stamp(1, i, 2));
		CHECK_EQ(must_read(AT(direct, i * PAGE + 16)),
			 stamp(1, i, 2));
	}
	note("%u of %u pages moved", moved, PAGES);
	CHECK(moved > PAGES / 2);
}

static void *view;
static int stop;

/* Counts up in a word of each page; nothing else writes there. */
static void *writer(void *arg)
{
	uint64_t *count = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t next = *count + 1;

		for (unsigned int i = 0; i < PAGES; i++) {
			CHECK_EQ(must_read(AT(view, i * PAGE + 64)),
				 *count);
			must_write(AT(view, i * PAGE + 64), next);
		}
		*count = next;
	}
	return NULL;
}

static void race(bool compact)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, PAGES);
	uint64_t count = 0, word, end = now_ms() + 700;
	unsigned int moved = 0, tried = 0;
	pthread_t thread;
	void *direct;

	for (unsigned int i = 0; i < PAGES; i++) {
		word = 0;
		CHECK_EQ(pwrite(fd, &word, 8, i * PAGE + 64), 8);
	}
	CHECK_OK(sys(fsync(fd)));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	direct = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(direct != MAP_FAILED);
	CHECK(!pthread_create(&thread, NULL, writer, &count));
	/* A page that is just being written to can't be moved: try on. */
	while (now_ms() < end || !(compact || moved)) {
		if (compact)
			write_file("/proc/sys/vm/compact_memory", "1");
		else if (tried < 500)
			moved += move_page(direct, tried % PAGES);
		else
			break;
		tried++;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	note("%u rounds, %u pages moved, %llu generations", tried, moved,
	     (unsigned long long)count);
	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQ(must_read(AT(view, i * PAGE + 64)), count);
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
		CHECK_EQ(pread(fd, &word, 8, i * PAGE + 64), 8);
		CHECK_EQ(word, count);
	}
	CHECK(compact || moved > 0);
}

TEST_EACH_FS(writes_race_with_migration)
{
	race(false);
}

TEST(writes_race_with_compaction)
{
	race(true);
}
