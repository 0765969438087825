// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory cgroups: who maps a view may use as much memory as its own allows, and
 * is killed beyond; the view and all others that use it go on.
 */
#include "memview_test.h"

enum { PAGES = 6144, LIMIT_MIB = 16, SYNC_PAGES = 128 };
#define SIZE	(PAGES * PAGE)

static char limited[128];

/* The calling process may have @mib, and no swap. */
static void enter_small_cgroup(unsigned int mib)
{
	char path[160], text[32];

	snprintf(limited, sizeof(limited), "%s", cgroup_enter());
	snprintf(path, sizeof(path), "%s/memory.max", limited);
	snprintf(text, sizeof(text), "%lu", mib * MIB);
	write_file(path, text);
	snprintf(path, sizeof(path), "%s/memory.swap.max", limited);
	write_file(path, "0");
}

/* How often the process was about to have more, and something had to go. */
static unsigned long times_at_limit(void)
{
	char path[160], line[64];
	unsigned long times = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/memory.events", limited);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		(void)!sscanf(line, "max %lu", &times);
	fclose(f);
	return times;
}

/*
 * A child in a small cgroup goes to every page of the view, and writes to it, if
 * to a file on a disk then @fd.
 */
static int use_all_in_small_cgroup(int ctl, bool write, int fd)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		void *view;

		enter_small_cgroup(LIMIT_MIB);
		view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
		for (unsigned int i = 0; i < PAGES; i++) {
			if (write)
				must_write(AT(view, i * PAGE + 8), i);
			else
				CHECK_EQ(must_read(AT(view, i * PAGE + 8)), 0);
			/* Or the kernel has a writer wait, for long. */
			if (fd >= 0 && i % SYNC_PAGES == 0)
				CHECK_OK(sys(fdatasync(fd)));
		}
		CHECK(times_at_limit());
		_exit(0);
	}
	CHECK(wait_ended(pid, 100, &status));
	return status;
}

static int sparse_file(const char *fs)
{
	int fd = backing_new_on(fs, 1, 1);

	CHECK_OK(sys(ftruncate(fd, SIZE)));
	return fd;
}

/* Files on disk: their pages are reclaimed, however they are mapped. */
static void is_reclaimed(const char *fs)
{
	int fd = sparse_file(fs);
	int ctl = ctl_new(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ);

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	CHECK_EQ(use_all_in_small_cgroup(ctl, true, fd), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE + 8)), i);
	unlink(backing_path());
}

TEST_LIMIT(ext4_is_reclaimed, 120)
{
	is_reclaimed("ext4");
}

TEST_LIMIT(xfs_is_reclaimed, 120)
{
	is_reclaimed("xfs");
}

TEST_LIMIT(btrfs_is_reclaimed, 120)
{
	is_reclaimed("btrfs");
}

static void check_killed(int status)
{
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Pages without a disk can't go: the mapper does. */
TEST_LIMIT(mapper_is_killed, 120)
{
	int fd = sparse_file("memfd");
	int ctl = ctl_new(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	check_killed(use_all_in_small_cgroup(ctl, true, -1));
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	for (unsigned int i = 0; i < PAGES / 4; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE + 8)), i);
	must_write(AT(view, SIZE - PAGE), 1);
}

/* Sink pages are memory of the mapper. */
TEST_LIMIT(mapper_is_killed_for_sink_pages, 120)
{
	static const char max[] =
		"/sys/module/memory_view/parameters/sink_pages_max";
	int ctl = sink_view(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	int status;

	write_file(max, "100000");
	status = use_all_in_small_cgroup(ctl, false, -1);
	write_file(max, "4096");
	check_killed(status);
	CHECK_EQ(get_info(ctl).sink_pages, 0);
	must_write(AT(view, 8), 1);
	CHECK_EQ(get_info(ctl).sink_pages, 1);
}

/* So is what the opener has the driver keep: it gets ENOMEM, or is killed. */
TEST_LIMIT(opener_has_a_limit, 120)
{
	int fd = backing_new(1, 2);
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		int ctl;
		long ret;

		enter_small_cgroup(LIMIT_MIB / 4);
		ctl = ctl_new(GIB * 1024);
		for (uint64_t i = 0;; i++) {
			ret = map_fd(ctl, fd, 0, PAGE, i * 2 * PAGE, RD);
			if (ret)
				break;
		}
		CHECK_ERR(ret, ENOMEM);
		_exit(0);
	}
	CHECK(wait_ended(pid, 100, &status));
	if (status)
		check_killed(status);
}
