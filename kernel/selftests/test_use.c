// SPDX-License-Identifier: GPL-2.0-only
/*
 * What MEMVIEW_GET_USE says: faults by segment, and how much of a range mappers
 * have entries for. Huge entries: see test_huge.c.
 */
#include "memview_test.h"

#define SIZE	(1024 * PAGE)

TEST(counts_what_mappers_have)
{
	int ctl = ctl_new(SIZE), fd = backing_new(1, 8);
	size_t first = 2 * PAGE, second = 600 * PAGE;
	struct memview_use use;
	void *view, *other;

	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, first, RD));
	CHECK_OK(map_fd(ctl, fd, 4 * PAGE, 4 * PAGE, second, RD));
	view = view_mmap(ctl, SIZE, PROT_READ);
	use = get_use(ctl, 0, SIZE);
	CHECK_EQ(use.range.mem_offset, 0);
	CHECK_EQ(use.range.size, SIZE);
	CHECK_EQ(use.faults, 0);
	CHECK_EQ(use.mapped, 0);

	for (size_t at = 0; at < 4 * PAGE; at += PAGE)
		(void)must_read(AT(view, first + at));
	CHECK_EQ(get_use(ctl, 0, SIZE).mapped, 4 * PAGE);
	CHECK_EQ(get_use(ctl, 0, SIZE).huge, 0);
	CHECK(get_use(ctl, first, 4 * PAGE).faults > 0);
	CHECK_EQ(get_use(ctl, first, 4 * PAGE).faults, get_info(ctl).faults);
	CHECK_EQ(get_use(ctl, first + PAGE, 2 * PAGE).mapped, 2 * PAGE);
	/* The segment is the same. */
	CHECK_EQ(get_use(ctl, first + PAGE, 2 * PAGE).faults,
		 get_info(ctl).faults);
	CHECK_EQ(get_use(ctl, second, 4 * PAGE).mapped, 0);
	CHECK_EQ(get_use(ctl, second, 4 * PAGE).faults, 0);

	/* Each mapper counts, one whose addresses are unlike the view's too. */
	other = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, get_viewfd(ctl),
		     (off_t)(second + PAGE));
	CHECK(other != MAP_FAILED);
	(void)must_read(AT(view, second + PAGE));
	for (size_t at = 0; at < 3 * PAGE; at += PAGE)
		(void)must_read(AT(other, at));
	CHECK_EQ(get_use(ctl, second + PAGE, PAGE).mapped, 2 * PAGE);
	CHECK(get_use(ctl, second + 2 * PAGE, 2 * PAGE).mapped >= 2 * PAGE);
	CHECK_OK(sys(munmap(other, 4 * PAGE)));
	CHECK_EQ(get_use(ctl, second + PAGE, PAGE).mapped, PAGE);
}

TEST(faults_outlive_their_ranges)
{
	int ctl = ctl_new(SIZE), fd = backing_new(1, 8);
	void *view;
	__u64 all;

	CHECK_OK(map_fd(ctl, fd, 0, 8 * PAGE, 0, RD));
	view = view_mmap(ctl, SIZE, PROT_READ);
	(void)must_read(view);
	all = get_info(ctl).faults;
	CHECK(all > 0);
	CHECK_EQ(get_use(ctl, 0, 8 * PAGE).faults, all);

	/* What remains of a range keeps its count, once. */
	CHECK_OK(unmap_fd(ctl, 3 * PAGE, PAGE));
	CHECK_EQ(get_use(ctl, 0, 3 * PAGE).faults, all);
	CHECK_EQ(get_use(ctl, 4 * PAGE, 4 * PAGE).faults, 0);
	CHECK_EQ(get_info(ctl).faults, all);

	/* A new range begins at none. */
	CHECK_OK(map_fd(ctl, fd, 0, 8 * PAGE, 0, RD));
	CHECK_EQ(get_use(ctl, 0, 8 * PAGE).faults, 0);
	CHECK_EQ(get_info(ctl).faults, all);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	CHECK_EQ(get_info(ctl).faults, all);
}

TEST(arguments_of_get_use)
{
	int ctl = ctl_new(SIZE), fresh = ctl_open();
	struct memview_use use = { .range = { 0, PAGE } };
	struct {
		struct memview_use v3;
		__u64 next;
	} more = { .v3 = use, .next = ~0ULL };

	CHECK_ERR(sys(ioctl(fresh, MEMVIEW_GET_USE, &use)), EINVAL);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_GET_USE, NULL)), EFAULT);
	CHECK_ERR(sys(ioctl(ctl, _IOWR(MEMVIEW_IOC_MAGIC, 7,
				       struct memview_range), &use)), EINVAL);
	CHECK_OK(sys(ioctl(ctl, _IOWR(MEMVIEW_IOC_MAGIC, 7, more), &more)));
	CHECK_EQ(more.next, 0);
	use.range = (struct memview_range){ 1, PAGE };
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_GET_USE, &use)), EINVAL);
	use.range = (struct memview_range){ 0, 0 };
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_GET_USE, &use)), EINVAL);
	use.range = (struct memview_range){ SIZE - PAGE, 2 * PAGE };
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_GET_USE, &use)), EINVAL);
	CHECK_EQ(get_use(ctl, SIZE - PAGE, PAGE).mapped, 0);
}
