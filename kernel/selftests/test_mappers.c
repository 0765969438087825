// SPDX-License-Identifier: GPL-2.0-only
/* What mappers that are not trusted may cost the others, and the kernel. */
#include <linux/falloc.h>

#include "memview_test.h"

enum { PAGES = 64, MAPPERS = 16, HOLES = 50 };
#define SIZE	(PAGES * PAGE)

/* Maps and unmaps the view for ever. */
static void loop_mmap(int vfd)
{
	uint64_t value;

	for (;;) {
		void *view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);

		CHECK(view != MAP_FAILED);
		(void)try_read(view, &value);
		CHECK_OK(sys(munmap(view, SIZE)));
	}
}

/* Splits and joins a mapping of the view for ever. */
static void loop_mprotect(int vfd)
{
	for (;;) {
		void *view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);

		CHECK(view != MAP_FAILED);
		for (unsigned int i = 1; i < PAGES - 1; i += 2)
			CHECK_OK(sys(mprotect(AT(view, i * PAGE), PAGE,
					      PROT_NONE)));
		CHECK_OK(sys(munmap(view, SIZE)));
	}
}

static void must_get_on(void (*loop)(int vfd))
{
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	uint64_t begin, longest = 0;
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < MAPPERS; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			loop(vfd);
	}
	run_first();
	begin = now_ms();
	for (unsigned int i = 0; i < HOLES; i++) {
		uint64_t one = now_ms();

		must_write(AT(view, i % PAGES * PAGE), i + 1);
		CHECK_OK(sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE,
				       i % PAGES * PAGE, PAGE)));
		CHECK_EQ(must_read(AT(view, i % PAGES * PAGE)), 0);
		one = now_ms() - one;
		longest = one > longest ? one : longest;
	}
	note("%u holes in %llu ms, the longest took %llu ms", HOLES,
	     (unsigned long long)(now_ms() - begin),
	     (unsigned long long)longest);
}

/* Who clears entries on behalf of a file gets its turn. */
TEST_LIMIT(holes_beside_mmap_loops, 60)
{
	must_get_on(loop_mmap);
}

TEST_LIMIT(holes_beside_mprotect_loops, 60)
{
	must_get_on(loop_mprotect);
}

/* Clearing entries is linear in what shows a page: mappings are few. */
TEST(mappings_are_limited)
{
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	void *first = NULL, *view;
	unsigned int count = 0;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	for (; count < 5000; count++) {
		view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);
		if (view == MAP_FAILED)
			break;
		first = first ? first : view;
	}
	CHECK(view == MAP_FAILED && errno == ENOMEM);
	note("%u mappings", count);
	CHECK(count >= 1000);
	/* Nor by splitting one; what is there works on. */
	CHECK_ERR(sys(munmap(AT(first, PAGE), PAGE)), ENOMEM);
	CHECK_ERR(sys(mprotect(AT(first, PAGE), PAGE, PROT_NONE)), ENOMEM);
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQ(must_read(AT(first, i * PAGE)), stamp(1, i, 0));
	/* One less makes room for one more. */
	CHECK_OK(sys(munmap(first, SIZE)));
	view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);
	CHECK(view != MAP_FAILED);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	must_sigbus(view);
}

/* The same in pieces of one mapping, each of which shows its own pages. */
TEST(pieces_are_limited)
{
	enum { MANY = 4096 };
	int fd = backing_new(1, MANY);
	int ctl = ctl_new(MANY * PAGE);
	unsigned int i;
	void *view;
	long ret = 0;

	CHECK_OK(map_fd(ctl, fd, 0, MANY * PAGE, 0, RD | WR));
	view = view_mmap(ctl, MANY * PAGE, PROT_READ);
	for (i = 1; i < MANY && !ret; i += 2)
		ret = sys(munmap(AT(view, i * PAGE), PAGE));
	CHECK_EQ(ret, -ENOMEM);
	CHECK(i > 500);
	note("%u pieces", i / 2);
	for (unsigned int at = 0; at < MANY; at += 2)
		CHECK_EQ(must_read(AT(view, at * PAGE)), stamp(1, at, 0));
	CHECK_OK(unmap_fd(ctl, 0, MANY * PAGE));
	for (unsigned int at = 0; at < MANY; at += 2)
		must_sigbus(AT(view, at * PAGE));
	CHECK_OK(sys(munmap(view, MANY * PAGE)));
	must_sigbus(view_mmap(ctl, PAGE, PROT_READ));
}
