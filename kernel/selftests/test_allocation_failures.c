// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation of the driver, and of what it calls, and every copy from and
 * to user memory, fails once: the call says so or does without, and the next one
 * works. Needs a kernel with fault injection, such as `npm run test:sanitizers`
 * builds.
 */
#include "inject.h"
#include "module.h"

enum { PAGES = 16 };
#define SIZE	(PAGES * PAGE)

/* What a call works on; made anew for each. */
struct world {
	int ctl;
	int fd;
	int other;
	void *view;
	void *hole;
};

/* One call. Returns what system calls do, or minus the number of a signal. */
typedef long (*call_fn)(struct world *w);

struct call {
	const char *name;
	call_fn fn;
	bool each_fs;
};

static bool may_fail(long ret)
{
	return ret >= 0 || ret == -ENOMEM || ret == -EFAULT || ret == -EIO ||
	       ret == -ENOSPC || ret == -SIGBUS;
}

/* Exit codes of the child that makes one call. */
enum { INJECTED = 0, NOT_REACHED = 77 };

/* All of the world works as if nothing had happened. */
static void check_world(struct world *w)
{
	void *view;

	CHECK_OK(map_fd(w->ctl, w->fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(w->ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
	must_write(AT(view, 8), 42);
	CHECK_EQ(must_read(AT(view, 8)), 42);
	CHECK_EQ(get_info(w->ctl).segments, 1);
	CHECK_OK(unmap_fd(w->ctl, 0, SIZE));
	CHECK_EQ(must_read(view), 0);
	CHECK_EQ(get_info(w->ctl).segments, 0);
	CHECK_OK(sys(munmap(view, SIZE)));
}

static int make_call(call_fn fn, unsigned int nth)
{
	struct world w;
	int fail_nth = inject_open();
	bool injected;
	long ret;

	w.ctl = sink_view(2 * SIZE);
	w.fd = backing_new(1, PAGES);
	w.other = backing_new(2, 1);
	w.view = view_mmap(w.ctl, 2 * SIZE, PROT_READ | PROT_WRITE);
	CHECK_OK(map_fd(w.ctl, w.other, 0, PAGE, SIZE, RD | WR));
	CHECK_OK(unmap_fd(w.ctl, SIZE, PAGE));
	inject_arm(fail_nth, nth);
	ret = fn(&w);
	injected = inject_disarm(fail_nth);
	if (injected ? !may_fail(ret) : ret < 0)
		FAIL("failure %u: %ld (%s)", nth, ret,
		     ret < 0 ? strerror((int)-ret) : "");
	check_world(&w);
	return injected ? INJECTED : NOT_REACHED;
}

/* Fails all that @call does, one after the other. */
static void fail_each(const struct call *call)
{
	for (unsigned int nth = 1;; nth++) {
		int status;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid)
			_exit(make_call(call->fn, nth));
		CHECK(wait_ended(pid, 30, &status));
		if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_REACHED) {
			note("%s: %u", call->name, nth - 1);
			return;
		}
		if (!WIFEXITED(status) || WEXITSTATUS(status) != INJECTED)
			FAIL("%s with failure %u: status 0x%x", call->name,
			     nth, status);
	}
}

/* ---- The calls ---------------------------------------------------------- */

static long call_open(struct world *w)
{
	long fd = sys(open(DEVICE, O_RDWR | O_CLOEXEC));

	(void)w;
	return fd;
}

static long call_sizes(struct world *w)
{
	uint64_t size = SIZE, policy = MEMVIEW_FAULT_SINK;
	struct memview_info info;
	int ctl = open(DEVICE, O_RDWR | O_CLOEXEC);
	long ret;

	(void)w;
	if (ctl < 0)
		return -errno;
	ret = sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy));
	if (!ret)
		ret = sys(ioctl(ctl, MEMVIEW_SET_SIZE, &size));
	if (!ret)
		ret = sys(ioctl(ctl, MEMVIEW_GET_INFO, &info));
	return ret;
}

static long call_get_viewfd(struct world *w)
{
	return sys(ioctl(w->ctl, MEMVIEW_GET_VIEWFD));
}

static long call_map(struct world *w)
{
	return map_fd(w->ctl, w->fd, 0, SIZE, 0, RD | WR);
}

/* Others are carved: in the middle, and wholly. */
static long call_remap(struct world *w)
{
	long ret = map_fd(w->ctl, w->fd, 0, SIZE, 0, RD | WR);

	if (!ret)
		ret = map_fd(w->ctl, w->fd, 0, PAGE, 4 * PAGE, RD);
	if (!ret)
		ret = map_fd(w->ctl, w->other, 0, PAGE, 8 * PAGE, RD);
	if (!ret)
		ret = map_fd(w->ctl, w->fd, PAGE, SIZE, 0, RD | WR);
	return ret;
}

static long call_unmap(struct world *w)
{
	struct memview_unmap unmap = {
		.range = { PAGE, PAGE },
		.flags = MEMVIEW_UNMAP_REPORT_PINS,
	};
	struct memview_range ranges[260];
	long ret;

	ret = map_fd(w->ctl, w->fd, 0, SIZE, 0, RD | WR);
	if (!ret)
		ret = sys(ioctl(w->ctl, MEMVIEW_UNMAP_FD, &unmap));
	for (unsigned int i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct memview_range){ i % 8 * 2 * PAGE, PAGE };
	if (!ret)
		ret = unmap_fds(w->ctl, ranges, ARRAY_SIZE(ranges));
	return ret;
}

/* Maps, cuts, protects. */
static long call_mmap(struct world *w)
{
	long vfd = sys(ioctl(w->ctl, MEMVIEW_GET_VIEWFD));
	void *view;
	long ret;

	if (vfd < 0)
		return vfd;
	view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)vfd,
		    0);
	if (view == MAP_FAILED)
		return -errno;
	ret = sys(munmap(AT(view, 4 * PAGE), 4 * PAGE));
	if (!ret)
		ret = sys(mprotect(AT(view, 12 * PAGE), PAGE, PROT_READ));
	if (!ret)
		ret = sys(munmap(view, SIZE));
	return ret;
}

static long touch(void *at, bool write)
{
	uint64_t value;

	return -(write ? try_write(AT(at, 16), 1) : try_read(at, &value));
}

static long call_read(struct world *w)
{
	long ret = call_map(w);

	drop_file(w->fd);
	return ret ? ret : touch(w->view, false);
}

static long call_write(struct world *w)
{
	long ret = call_map(w);

	if (!ret)
		ret = touch(w->view, true);
	if (!ret)
		ret = touch(AT(w->view, 8 * PAGE), false);
	if (!ret)
		ret = touch(AT(w->view, 8 * PAGE), true);
	return ret;
}

/* Beyond the end of a file, and where nothing is mapped. */
static long call_sink(struct world *w)
{
	long ret = map_fd(w->ctl, w->other, 0, SIZE, 0, RD | WR);

	if (!ret)
		ret = touch(AT(w->view, 8 * PAGE), false);
	if (!ret)
		ret = touch(AT(w->view, 8 * PAGE), true);
	if (!ret)
		ret = touch(AT(w->view, SIZE), true);
	return ret;
}

/* All that clears entries: truncation, growth, writeback, msync. */
static long call_change_file(struct world *w)
{
	long ret = call_write(w);

	if (!ret)
		ret = sys(fsync(w->fd));
	if (!ret)
		ret = sys(msync(w->view, SIZE, MS_SYNC));
	if (!ret)
		ret = sys(ftruncate(w->other, 4 * PAGE));
	if (!ret)
		ret = sys(ftruncate(w->other, PAGE));
	return ret;
}

static long call_close(struct world *w)
{
	int ctl = open(DEVICE, O_RDWR | O_CLOEXEC);
	uint64_t size = SIZE;
	long ret;

	if (ctl < 0)
		return -errno;
	ret = set_size(ctl, size);
	if (!ret)
		ret = map_fd(ctl, w->fd, 0, SIZE, 0, RD | WR);
	close(ctl);
	return ret;
}

static const struct call calls[] = {
	{ "open", call_open, false },
	{ "sizes", call_sizes, false },
	{ "view fd", call_get_viewfd, false },
	{ "map", call_map, true },
	{ "remap", call_remap, false },
	{ "unmap", call_unmap, false },
	{ "mmap", call_mmap, false },
	{ "read", call_read, true },
	{ "write", call_write, true },
	{ "sink", call_sink, false },
	{ "change of the file", call_change_file, true },
	{ "close", call_close, true },
};

TEST_EACH_FS_LIMIT(each_fails_once, 120)
{
	inject_into_driver();
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].each_fs || backing_is("memfd"))
			fail_each(&calls[i]);
}

/* Failures here and there, in workers too: the mapper is not the opener. */
TEST_EACH_FS_LIMIT(some_fail, 120)
{
	enum { ROUNDS = 150 };
	unsigned int failed = 0;
	struct world w;
	pid_t pid;

	inject_into_driver();
	/*
	 * btrfs goes read-only for good where it finds no memory within a
	 * transaction, so only what the driver calls nearly by itself fails.
	 */
	if (backing_is("btrfs"))
		inject_set(NULL, "stacktrace-depth", "12");
	w.ctl = sink_view(2 * SIZE);
	w.fd = backing_new(1, PAGES);
	w.other = backing_new(2, 1);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		w.view = view_mmap(w.ctl, 2 * SIZE, PROT_READ | PROT_WRITE);
		inject_set("failslab", "probability", "10");
		inject_set("fail_page_alloc", "probability", "10");
		for (unsigned int i = 0; i < ROUNDS; i++) {
			long ret = calls[3 + i % 8].fn(&w);

			CHECK(may_fail(ret) || ret == -EAGAIN);
			failed += ret < 0;
		}
		inject_set(NULL, "probability", "0");
		note("%u of %u calls failed", failed, ROUNDS);
		CHECK(failed);
		/* What grew must be as it was. */
		CHECK_OK(sys(ftruncate(w.other, PAGE)));
		CHECK_OK(unmap_fd(w.ctl, 0, 2 * SIZE));
		check_world(&w);
		_exit(0);
	}
	wait_child(pid, 100);
	w.view = view_mmap(w.ctl, 2 * SIZE, PROT_READ | PROT_WRITE);
	check_world(&w);
}

/* All that the driver sets up when it is loaded. */
TEST_LIMIT(load, 120)
{
	int file = module_file();
	int fail_nth = inject_open();
	unsigned int nth = 0;
	bool injected;
	long ret;

	inject_into_function("do_one_initcall");
	module_must_unload();
	do {
		inject_arm(fail_nth, ++nth);
		ret = module_load(file);
		injected = inject_disarm(fail_nth);
		CHECK(injected ? may_fail(ret) : !ret);
		if (!ret)
			module_must_unload();
	} while (injected);
	note("%u", nth - 1);
	CHECK(nth > 3);
	module_must_load(file);
}
