// SPDX-License-Identifier: GPL-2.0-only
/* The control fd's calls: sizes, arguments, growth of structs, counters. */
#include "memview_test.h"

#define SIZE	(64 * PAGE)

TEST(device_is_private)
{
	struct stat st;

	CHECK_OK(sys(stat(DEVICE, &st)));
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(st.st_mode & 0777, 0600);
	CHECK_EQ(st.st_uid, 0);
}

TEST(info_of_a_new_view)
{
	int ctl = ctl_open();
	struct memview_info info = get_info(ctl);

	CHECK_EQ(info.abi_version, MEMVIEW_ABI_VERSION);
	CHECK_EQ(info.pad, 0);
	CHECK_EQ(info.granularity, sysconf(_SC_PAGESIZE));
	CHECK_EQ(info.size, 0);
	CHECK_EQ(info.segments, 0);
	CHECK_EQ(info.maps, 0);
	CHECK_EQ(info.unmaps, 0);
	CHECK_EQ(info.faults, 0);
	CHECK_EQ(info.zaps, 0);
	CHECK_EQ(info.retries, 0);
	CHECK_OK(set_size(ctl, SIZE));
	CHECK_EQ(get_info(ctl).size, SIZE);
}

TEST(size_is_set_once)
{
	int ctl = ctl_open();

	CHECK_ERR(set_size(ctl, 0), EINVAL);
	CHECK_ERR(set_size(ctl, PAGE - 1), EINVAL);
	CHECK_ERR(set_size(ctl, PAGE + 1), EINVAL);
	CHECK_ERR(set_size(ctl, 1ULL << 63), EINVAL);
	CHECK_ERR(set_size(ctl, ~0ULL & ~(PAGE - 1)), EINVAL);
	CHECK_EQ(get_info(ctl).size, 0);
	CHECK_OK(set_size(ctl, SIZE));
	CHECK_ERR(set_size(ctl, SIZE), EBUSY);
	CHECK_ERR(set_size(ctl, 2 * SIZE), EBUSY);
	close(get_viewfd(ctl));
	CHECK_ERR(set_size(ctl, SIZE), EBUSY);
	CHECK_EQ(get_info(ctl).size, SIZE);
}

TEST(nothing_works_before_the_size)
{
	int ctl = ctl_open();
	int fd = backing_new(1, 4);
	struct memview_range range = { 0, PAGE };

	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 0, RD), EINVAL);
	CHECK_ERR(unmap_fd(ctl, 0, PAGE), EINVAL);
	CHECK_ERR(unmap_fds(ctl, &range, 1), EINVAL);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_GET_VIEWFD)), EINVAL);
	CHECK_EQ(get_info(ctl).maps, 0);
	CHECK_OK(set_size(ctl, SIZE));
}

TEST(views_are_independent)
{
	int a = ctl_new(SIZE), b = ctl_new(2 * SIZE);
	int fd = backing_new(1, 4);
	void *va = view_mmap(a, SIZE, PROT_READ);
	void *vb = view_mmap(b, 2 * SIZE, PROT_READ);

	CHECK_OK(map_fd(a, fd, PAGE, PAGE, 0, RD));
	CHECK_EQ(get_info(b).segments, 0);
	CHECK_EQ(must_read(va), stamp(1, 1, 0));
	must_sigbus(vb);
	CHECK_OK(map_fd(b, fd, 2 * PAGE, PAGE, 0, RD));
	CHECK_EQ(must_read(va), stamp(1, 1, 0));
	CHECK_EQ(must_read(vb), stamp(1, 2, 0));
	CHECK_OK(unmap_fd(a, 0, SIZE));
	must_sigbus(va);
	CHECK_EQ(must_read(vb), stamp(1, 2, 0));
}

TEST(map_arguments)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 4);
	struct memview_map_fd_info info = {
		.fd = fd, .size = PAGE, .flags = RD, .pad = 1,
	};
	int opath, closed;

	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_MAP_FD, &info)), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 0, 0), EINVAL);
	for (unsigned int bit = 3; bit < 64; bit++)
		CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 0, RD | (1ULL << bit)),
			  EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 1, PAGE, 0, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, PAGE / 2, PAGE, 0, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE + 1, 0, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, 0, 0, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, 512, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, PAGE, SIZE, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, SIZE, PAGE, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, 2 * SIZE, 0, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, 2 * PAGE, -PAGE, RD), EINVAL);
	CHECK_ERR(map_fd(ctl, fd, 0, -PAGE, 2 * PAGE, RD), EINVAL);
	/* A file range that no file can have. */
	CHECK(map_fd(ctl, fd, -PAGE, 2 * PAGE, 0, RD) == -EINVAL ||
	      map_fd(ctl, fd, -PAGE, 2 * PAGE, 0, RD) == -EOVERFLOW);
	CHECK(map_fd(ctl, fd, 1ULL << 63, PAGE, 0, RD) == -EINVAL ||
	      map_fd(ctl, fd, 1ULL << 63, PAGE, 0, RD) == -EOVERFLOW);

	CHECK_ERR(map_fd(ctl, -1, 0, PAGE, 0, RD), EBADF);
	CHECK_ERR(map_fd(ctl, 1 << 20, 0, PAGE, 0, RD), EBADF);
	closed = dup(fd);
	close(closed);
	CHECK_ERR(map_fd(ctl, closed, 0, PAGE, 0, RD), EBADF);
	opath = open(fs_dir("tmpfs"), O_PATH | O_CLOEXEC);
	CHECK(opath >= 0);
	CHECK_ERR(map_fd(ctl, opath, 0, PAGE, 0, RD), EBADF);

	CHECK_EQ(get_info(ctl).segments, 0);
	CHECK_EQ(get_info(ctl).maps, 0);
	/* The fd may be closed at once; the file may be far shorter. */
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	close(fd);
	CHECK_EQ(must_read(view_mmap(ctl, SIZE, PROT_READ)), stamp(1, 0, 0));
}

TEST(modes_of_the_file)
{
	int ctl = ctl_new(SIZE);
	int rw = backing_new_on("ext4", 1, 1);
	int ro = open(backing_path(), O_RDONLY | O_CLOEXEC);
	int wo = open(backing_path(), O_WRONLY | O_CLOEXEC);

	CHECK(ro >= 0 && wo >= 0);
	CHECK_ERR(map_fd(ctl, ro, 0, PAGE, 0, RD | WR), ERR_MODE);
	/* No page table of ours can write and not read. */
	CHECK_ERR(map_fd(ctl, rw, 0, PAGE, 0, WR), EINVAL);
	CHECK_ERR(map_fd(ctl, rw, 0, PAGE, 0, EX), EINVAL);
	CHECK_ERR(map_fd(ctl, wo, 0, PAGE, 0, WR), EINVAL);
	CHECK_ERR(map_fd(ctl, wo, 0, PAGE, 0, RD), ERR_MODE);
	CHECK_ERR(map_fd(ctl, wo, 0, PAGE, 0, RD | WR), ERR_MODE);
	CHECK_OK(map_fd(ctl, ro, 0, PAGE, 0, RD));
	CHECK_OK(map_fd(ctl, rw, 0, PAGE, 0, RD | WR));
	CHECK_EQ(get_info(ctl).maps, 2);
	CHECK_EQ(get_info(ctl).segments, 1);
}

TEST(unmap_arguments)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	struct memview_range many[MEMVIEW_UNMAP_MAX + 1];
	struct memview_unmap_batch batch = {
		.ranges = (uintptr_t)many, .count = 1, .flags = 2,
	};

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	CHECK_ERR(unmap_fd(ctl, 1, PAGE), EINVAL);
	CHECK_ERR(unmap_fd(ctl, 0, 0), EINVAL);
	CHECK_ERR(unmap_fd(ctl, 0, PAGE / 2), EINVAL);
	CHECK_ERR(unmap_fd(ctl, SIZE, PAGE), EINVAL);
	CHECK_ERR(unmap_fd(ctl, PAGE, SIZE), EINVAL);
	CHECK_ERR(unmap_fd(ctl, -PAGE, 2 * PAGE), EINVAL);
	CHECK_ERR(unmap_fd(ctl, PAGE, -PAGE), EINVAL);

	for (unsigned int i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct memview_range){ i % 8 * PAGE, PAGE };
	CHECK_ERR(unmap_fds(ctl, many, 0), EINVAL);
	CHECK_ERR(unmap_fds(ctl, many, MEMVIEW_UNMAP_MAX + 1), EINVAL);
	CHECK_ERR(unmap_fds(ctl, many, ~0U), EINVAL);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_UNMAP_FDS, &batch)), EINVAL);
	CHECK_ERR(unmap_fds(ctl, (void *)16, 1), EFAULT);

	/* One bad entry, at the end: none takes effect. */
	many[5].size = PAGE + 1;
	CHECK_ERR(unmap_fds(ctl, many, 6), EINVAL);
	CHECK_EQ(get_info(ctl).segments, 1);
	CHECK_EQ(get_info(ctl).unmaps, 0);
	many[5].size = PAGE;

	CHECK_OK(unmap_fds(ctl, many, MEMVIEW_UNMAP_MAX));
	CHECK_EQ(get_info(ctl).unmaps, MEMVIEW_UNMAP_MAX);
	CHECK_EQ(get_info(ctl).segments, 1);
	/* Holes are no error, and they count. */
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	CHECK_EQ(get_info(ctl).unmaps, MEMVIEW_UNMAP_MAX + 2);
	CHECK_EQ(get_info(ctl).segments, 0);
}

TEST(batch_unmap)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 64);
	struct memview_range ranges[16];
	void *view;

	for (unsigned int i = 0; i < 64; i++)
		CHECK_OK(map_fd(ctl, fd, i * PAGE, PAGE, i * PAGE, RD));
	CHECK_EQ(get_info(ctl).segments, 64);
	view = view_mmap(ctl, SIZE, PROT_READ);
	for (unsigned int i = 0; i < 64; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
	for (unsigned int i = 0; i < 16; i++)
		ranges[i] = (struct memview_range){ i * 4 * PAGE, 2 * PAGE };
	CHECK_OK(unmap_fds(ctl, ranges, 16));
	CHECK_EQ(get_info(ctl).segments, 32);
	CHECK_EQ(get_info(ctl).unmaps, 16);
	CHECK_EQ(get_info(ctl).maps, 64);
	for (unsigned int i = 0; i < 64; i++) {
		if (i % 4 < 2)
			must_sigbus(AT(view, i * PAGE));
		else
			CHECK_EQ(must_read(AT(view, i * PAGE)),
				 stamp(1, i, 0));
	}
}

TEST(unknown_calls)
{
	int ctl = ctl_new(SIZE);
	char buf[64] = "";

	CHECK_ERR(sys(ioctl(ctl, _IO(MEMVIEW_IOC_MAGIC, 0x06))), ENOTTY);
	CHECK_ERR(sys(ioctl(ctl, _IOW(MEMVIEW_IOC_MAGIC, 0xff, __u64), buf)),
		  ENOTTY);
	CHECK_ERR(sys(ioctl(ctl, _IOW(0xBE, 0x02, struct memview_map_fd_info),
			    buf)), ENOTTY);
	CHECK_ERR(sys(ioctl(ctl, _IOR(MEMVIEW_IOC_MAGIC, 0x02,
				      struct memview_map_fd_info), buf)),
		  ENOTTY);
	CHECK_ERR(sys(ioctl(ctl, TIOCGWINSZ, buf)), ENOTTY);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_MAP_FD, (void *)16)), EFAULT);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_UNMAP_FD, NULL)), EFAULT);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_UNMAP_FDS, NULL)), EFAULT);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_GET_INFO, NULL)), EFAULT);
	/* The control fd itself is no memory and no stream. */
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ctl, 0) == MAP_FAILED);
	CHECK(read(ctl, buf, 1) < 0);
	CHECK(write(ctl, buf, 1) < 0);
}

TEST(structs_may_grow)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 1);
	struct {
		struct memview_map_fd_info v1;
		__u64 next[2];
	} map = { .v1 = { .fd = fd, .size = PAGE, .flags = RD } };
	struct {
		struct memview_info v1;
		__u64 next[2];
	} info;
	struct {
		struct memview_unmap v2;
		__u64 next;
	} range = { .v2 = { .range = { .size = PAGE } } };
	struct {
		struct memview_unmap_batch v1;
		__u64 next;
	} batch = { .v1 = { .ranges = (uintptr_t)&range, .count = 1 } };
	const unsigned int magic = MEMVIEW_IOC_MAGIC;
	struct small {
		__u32 word;
	};

	CHECK_OK(sys(ioctl(ctl, _IOW(magic, 2, map), &map)));
	map.next[1] = 1ULL << 63;
	CHECK_ERR(sys(ioctl(ctl, _IOW(magic, 2, map), &map)), E2BIG);
	CHECK_EQ(get_info(ctl).maps, 1);

	CHECK_OK(sys(ioctl(ctl, _IOW(magic, 3, range), &range)));
	range.next = 1;
	CHECK_ERR(sys(ioctl(ctl, _IOW(magic, 3, range), &range)), E2BIG);
	range.next = 0;
	CHECK_OK(sys(ioctl(ctl, _IOW(magic, 4, batch), &batch)));
	batch.next = 1;
	CHECK_ERR(sys(ioctl(ctl, _IOW(magic, 4, batch), &batch)), E2BIG);
	CHECK_EQ(get_info(ctl).unmaps, 2);
	/* As in the first version. */
	CHECK_OK(sys(ioctl(ctl, _IOW(magic, 3, struct memview_range), &range)));
	range.v2.flags = 2;
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_UNMAP_FD, &range)), EINVAL);
	CHECK_EQ(get_info(ctl).unmaps, 3);

	memset(&info, 0xff, sizeof(info));
	CHECK_OK(sys(ioctl(ctl, _IOR(magic, 0, info), &info)));
	CHECK_EQ(info.v1.size, SIZE);
	CHECK_EQ(info.next[0], 0);
	CHECK_EQ(info.next[1], 0);

	CHECK_ERR(sys(ioctl(ctl, _IOR(magic, 0, struct small), &info)),
		  EINVAL);
	CHECK_ERR(sys(ioctl(ctl, _IOW(magic, 2, struct small), &map)), EINVAL);
	CHECK_ERR(sys(ioctl(ctl, _IOW(magic, 3, struct small), &range)),
		  EINVAL);
	CHECK_ERR(sys(ioctl(ctl, _IOW(magic, 4, struct small), &batch)),
		  EINVAL);
}

TEST(counters)
{
	int ctl = ctl_new(SIZE);
	int fd = backing_new(1, 4);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	struct memview_info before, after;

	CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD | WR));
	before = get_info(ctl);
	CHECK_EQ(before.faults, 0);
	must_write(view, 1);
	after = get_info(ctl);
	CHECK(after.faults > before.faults);
	CHECK_EQ(after.maps, 1);
	CHECK_EQ(after.unmaps, 0);

	/* Served from the page tables: no fault. */
	before = after;
	must_write(view, 2);
	CHECK_EQ(get_info(ctl).faults, before.faults);

	/* A file that changes under the view zaps it. */
	CHECK_OK(sys(ftruncate(fd, 0)));
	after = get_info(ctl);
	CHECK(after.zaps > before.zaps);
	must_sigbus(view);
	CHECK_OK(sys(ftruncate(fd, 4 * PAGE)));
	CHECK_EQ(must_read(view), 0);

	before = get_info(ctl);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	after = get_info(ctl);
	CHECK(after.zaps > before.zaps);
	CHECK_EQ(after.segments, 0);
	CHECK_EQ(after.unmaps, 1);
}

TEST(huge_views)
{
	int ctl = ctl_new(1ULL << 46);
	int fd = backing_new(1, 2);
	uint64_t top = (1ULL << 46) - 2 * PAGE;
	int vfd = get_viewfd(ctl);
	void *view;

	CHECK_OK(map_fd(ctl, fd, 0, 2 * PAGE, top, RD));
	view = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, vfd, (off_t)top);
	CHECK(view != MAP_FAILED);
	CHECK_EQ(must_read(AT(view, PAGE)), stamp(1, 1, 0));
	/* One mapping of a range that is far larger than the file. */
	CHECK_OK(map_fd(ctl, fd, 0, 1ULL << 45, 0, RD));
	CHECK_EQ(get_info(ctl).segments, 2);
	CHECK_OK(unmap_fd(ctl, 1ULL << 44, PAGE));
	CHECK_EQ(get_info(ctl).segments, 3);
	CHECK_OK(unmap_fd(ctl, 0, 1ULL << 46));
	CHECK_EQ(get_info(ctl).segments, 0);
	must_sigbus(view);
}
