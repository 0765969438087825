// SPDX-License-Identifier: GPL-2.0-only
/*
 * A view as the buffer of system calls: O_DIRECT reads into it and writes
 * from it (get_user_pages on its pages), copies, vmsplice, process_vm_readv.
 */
#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "memview_test.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

static int ctl;
static void *view;
static int backing;

static void setup(void)
{
	backing = backing_new(1, PAGES);
	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, backing, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
}

static int disk_file(void)
{
	int fd = backing_new_on("ext4", 7, PAGES);
	int direct;

	CHECK_OK(sys(fsync(fd)));
	close(fd);
	direct = open(backing_path(), O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(direct >= 0);
	return direct;
}

TEST_EACH_FS(o_direct_into_and_out_of_a_view)
{
	int disk;
	uint64_t word;

	setup();
	disk = disk_file();
	/* Pages not yet in the page tables, then ones that are. */
	CHECK_EQ(pread(disk, view, SIZE / 2, 0), SIZE / 2);
	for (unsigned int i = 0; i < PAGES / 2; i++) {
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(7, i, 0));
		CHECK_EQ(pread(backing, &word, 8, i * PAGE), 8);
		CHECK_EQ(word, stamp(7, i, 0));
	}
	CHECK_EQ(must_read(AT(view, SIZE / 2)), stamp(1, PAGES / 2, 0));
	CHECK_EQ(pread(disk, view, SIZE / 2, SIZE / 2), SIZE / 2);
	CHECK_EQ(must_read(view), stamp(7, PAGES / 2, 0));

	for (unsigned int i = 0; i < PAGES; i++)
		must_write(AT(view, i * PAGE), stamp(8, i, 1));
	CHECK_EQ(pwrite(disk, view, SIZE, 0), SIZE);
	CHECK_EQ(pread(disk, AT(view, PAGE), PAGE, 5 * PAGE), PAGE);
	CHECK_EQ(must_read(AT(view, PAGE)), stamp(8, 5, 1));
	/* What came in by DMA is dirty: an fsync keeps it. */
	CHECK_OK(sys(fsync(backing)));
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	drop_caches();
	CHECK_EQ(pread(backing, &word, 8, PAGE), 8);
	CHECK_EQ(word, stamp(8, 5, 1));
}

/* A hole or a read-only range makes the call fail; the rest is untouched. */
TEST_EACH_FS(bad_buffers)
{
	int disk;

	setup();
	disk = disk_file();
	CHECK_OK(unmap_fd(ctl, 8 * PAGE, PAGE));
	CHECK_ERR(sys(pread(disk, AT(view, 8 * PAGE), PAGE, 0)), EFAULT);
	CHECK_ERR(sys(pwrite(disk, AT(view, 8 * PAGE), PAGE, 0)), EFAULT);
	CHECK_OK(map_fd(ctl, backing, 0, PAGE, 8 * PAGE, RD));
	CHECK_ERR(sys(pread(disk, AT(view, 8 * PAGE), PAGE, 0)), EFAULT);
	CHECK_EQ(pwrite(disk, AT(view, 8 * PAGE), PAGE, 0), PAGE);
	CHECK_EQ(must_read(AT(view, 8 * PAGE)), stamp(1, 0, 0));
	CHECK_OK(sys(ftruncate(backing, 4 * PAGE)));
	CHECK_ERR(sys(pread(disk, AT(view, 16 * PAGE), PAGE, 0)), EFAULT);
	CHECK_ERR(sys(pwrite(disk, AT(view, 16 * PAGE), PAGE, 0)), EFAULT);
	CHECK_EQ(pread(disk, view, PAGE, 0), PAGE);
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
}

TEST(copies_and_pipes)
{
	char buf[PAGE];
	struct iovec local = { buf, PAGE }, remote, piece;
	int pipe_fds[2];
	pid_t pid;

	setup();
	CHECK_OK(sys(pipe(pipe_fds)));
	piece = (struct iovec){ AT(view, 3 * PAGE), PAGE };
	CHECK_EQ(vmsplice(pipe_fds[1], &piece, 1, 0), PAGE);
	CHECK_OK(unmap_fd(ctl, 3 * PAGE, PAGE));
	CHECK_EQ(read(pipe_fds[0], buf, PAGE), PAGE);
	CHECK_EQ(*(uint64_t *)buf, stamp(1, 3, 0));
	CHECK(vmsplice(pipe_fds[1], &piece, 1, 0) < 0);
	CHECK_ERR(sys(write(pipe_fds[1], AT(view, 3 * PAGE), 8)), EFAULT);

	pid = getpid();
	remote = (struct iovec){ AT(view, 5 * PAGE), PAGE };
	CHECK_EQ(process_vm_readv(pid, &local, 1, &remote, 1, 0), PAGE);
	CHECK_EQ(*(uint64_t *)buf, stamp(1, 5, 0));
	*(uint64_t *)buf = 99;
	CHECK_EQ(process_vm_writev(pid, &local, 1, &remote, 1, 0), PAGE);
	CHECK_EQ(must_read(AT(view, 5 * PAGE)), 99);
	CHECK_OK(map_fd(ctl, backing, 5 * PAGE, PAGE, 5 * PAGE, RD));
	CHECK(process_vm_writev(pid, &local, 1, &remote, 1, 0) < 0);
	CHECK_OK(unmap_fd(ctl, 5 * PAGE, PAGE));
	CHECK(process_vm_readv(pid, &local, 1, &remote, 1, 0) < 0);
}

static int stop;

static void *churn(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		CHECK_OK(unmap_fd(ctl, 0, SIZE));
		CHECK_OK(map_fd(ctl, backing, 0, SIZE, 0, RD | WR));
		sleep_ms(1);
	}
	return NULL;
}

/* A buffer that io_uring has pinned outlives an unmap, which can say so. */
TEST_EACH_FS(pins_are_reported)
{
	struct memview_unmap unmap = {
		.range = { PAGE, 4 * PAGE }, .flags = MEMVIEW_UNMAP_REPORT_PINS,
	};
	struct memview_range range = { 0, PAGE };
	struct memview_unmap_batch batch = {
		.ranges = (uintptr_t)&range, .count = 1,
		.flags = MEMVIEW_UNMAP_REPORT_PINS,
	};
	struct io_uring_params params = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	int ctl = ctl_new(16 * PAGE);
	int fd = backing_new(1, 16);
	void *view = view_mmap(ctl, 16 * PAGE, PROT_READ | PROT_WRITE);
	struct iovec iov = { AT(view, 2 * PAGE), 2 * PAGE };
	bool pinned;
	int pins;
	long ret;

	CHECK(ring >= 0);
	CHECK_OK(map_fd(ctl, fd, 0, 16 * PAGE, 0, RD | WR));
	for (unsigned int i = 0; i < 16; i++)
		must_write(AT(view, i * PAGE), i);
	CHECK_EQ(sys(ioctl(ctl, MEMVIEW_UNMAP_FD, &unmap)), 0);
	CHECK_OK(map_fd(ctl, fd, 0, 16 * PAGE, 0, RD | WR));
	for (unsigned int i = 0; i < 16; i++)
		must_write(AT(view, i * PAGE), i);
	/* The kernel refuses long-term pins but of memory file systems. */
	ret = sys(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS,
			  &iov, 1));
	pinned = backing_in_memory();
	if (pinned)
		CHECK_OK(ret);
	else
		CHECK(ret < 0);
	/* Pins are a folio's: where it is large, pages beside are counted. */
	pins = (int)sys(ioctl(ctl, MEMVIEW_UNMAP_FDS, &batch));
	CHECK(pins == 0 || (pins == 1 && backing_is("huge")));
	pins = (int)sys(ioctl(ctl, MEMVIEW_UNMAP_FD, &unmap));
	if (backing_is("huge"))
		CHECK(pins >= 2 && pins <= 4);
	else
		CHECK_EQ(pins, pinned ? 2 : 0);
	CHECK_EQ(sys(ioctl(ctl, MEMVIEW_UNMAP_FD, &unmap)), 0);
	must_sigbus(AT(view, 2 * PAGE));
}

/* O_DIRECT while the ranges come and go: done or EFAULT, never wrong. */
TEST_EACH_FS(o_direct_against_unmap)
{
	uint64_t end = now_ms() + 500, limit = deadline(8500);
	unsigned int done = 0, failed = 0;
	pthread_t thread;
	int disk;

	setup();
	disk = disk_file();
	CHECK(!pthread_create(&thread, NULL, churn, NULL));
	while (now_ms() < end || (!done && now_ms() < limit)) {
		unsigned int i = (done + failed) % PAGES;
		ssize_t n = pwrite(disk, AT(view, i * PAGE), PAGE, i * PAGE);

		if (n == (ssize_t)PAGE)
			done++;
		else if (n < 0 && errno == EFAULT)
			failed++;
		else
			FAIL("pwrite gave %zd (%s)", n, strerror(errno));
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	note("%u done, %u EFAULT", done, failed);
	CHECK(done > 0);
	for (unsigned int i = 0; i < PAGES; i++) {
		CHECK_EQ(pread(disk, AT(view, 0), PAGE, i * PAGE), PAGE);
		CHECK(must_read(view) == stamp(1, i, 0) ||
		      must_read(view) == stamp(7, i, 0));
	}
}
