// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fault policy MEMVIEW_FAULT_SINK: no access to a view that has an owner
 * ends in SIGBUS, what is written where a file has nothing stays with who wrote
 * it, and data that a file gets is never hidden.
 */
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "memview_test.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

static const char max_path[] =
	"/sys/module/memory_view/parameters/sink_pages_max";

TEST(policy_is_chosen_before_the_first_map)
{
	uint64_t policy = MEMVIEW_FAULT_SINK;
	int fd = backing_new(1, PAGES);
	int ctl = ctl_new(SIZE);

	CHECK_EQ(get_info(ctl).fault_policy, MEMVIEW_FAULT_SIGBUS);
	CHECK_OK(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy)));
	CHECK_EQ(get_info(ctl).fault_policy, MEMVIEW_FAULT_SINK);
	policy = 2;
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy)), EINVAL);
	policy = 1ULL << 32;
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy)), EINVAL);
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, NULL)), EFAULT);
	policy = MEMVIEW_FAULT_SIGBUS;
	CHECK_OK(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy)));
	CHECK_OK(map_fd(ctl, fd, 0, PAGE, 0, RD));
	CHECK_ERR(sys(ioctl(ctl, MEMVIEW_SET_FAULT_POLICY, &policy)), EBUSY);
	must_sigbus(AT(view_mmap(ctl, SIZE, PROT_READ), PAGE));
	CHECK_EQ(get_info(ctl).sinks, 0);
}

/* A place for each mapper, until something is mapped there, or it was. */
TEST_EACH_FS(holes_of_the_view)
{
	int fd = backing_new(1, PAGES);
	int ctl = sink_view(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	void *other = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);

	check_page(view, 0, "a hole");
	must_write(view, 1);
	CHECK_EQ(must_read(view), 1);
	CHECK_EQ(must_read(other), 0);
	must_write(AT(other, PAGE), 2);
	CHECK_EQ(get_info(ctl).sink_pages, 3);
	CHECK_OK(map_fd(ctl, fd, 0, 2 * PAGE, 0, RD | WR));
	CHECK_EQ(get_info(ctl).sink_pages, 0);
	for (unsigned int i = 0; i < 2; i++) {
		check_page(AT(view, i * PAGE), stamp(1, i, 0), "a file");
		check_page(AT(other, i * PAGE), stamp(1, i, 0), "a file");
	}
	must_write(view, 3);
	CHECK_OK(unmap_fd(ctl, 0, PAGE));
	CHECK_EQ(must_read(view), 0);
	CHECK_EQ(must_read(other), 0);
	CHECK_EQ(get_info(ctl).sink_pages, 2);
	CHECK_OK(sys(munmap(other, SIZE)));
	CHECK_EQ(get_info(ctl).sink_pages, 1);
	CHECK_OK(sys(munmap(view, SIZE)));
	CHECK_EQ(get_info(ctl).sink_pages, 0);
}

/* What the mapper may do changes while it has the page. */
TEST(rights)
{
	int fd = backing_new(1, 1);
	int ctl = sink_view(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ);
	int ret;

	CHECK_EQ(must_read(view), 0);
	must_not_write(view);
	CHECK_OK(sys(mprotect(view, SIZE, PROT_READ | PROT_WRITE)));
	must_write(view, 1);
	CHECK_EQ(must_read(view), 1);
	CHECK_OK(sys(mprotect(view, SIZE, PROT_READ)));
	must_not_write(view);
	CHECK_EQ(must_read(view), 1);
	/* Beyond the end of a file that may only be read. */
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	CHECK_OK(sys(mprotect(view, SIZE, PROT_READ | PROT_WRITE)));
	CHECK_EQ(must_read(AT(view, PAGE)), 0);
	must_not_write(AT(view, PAGE));
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	must_write(AT(view, PAGE), 2);
	CHECK_EQ(must_read(AT(view, PAGE)), 2);
	CHECK_OK(sys(mprotect(view, SIZE, PROT_READ | PROT_EXEC)));
	CHECK_EQ(try_call(AT(view, PAGE), &ret), SIGSEGV);
}

/* A kernel that reads and writes for the mapper gets them, too. */
TEST(system_calls)
{
	int ctl = sink_view(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	int fd = backing_new(1, PAGES), pipes[2];
	uint64_t word = 5;

	CHECK_EQ(pread(fd, view, PAGE, PAGE), PAGE);
	CHECK_EQ(must_read(view), stamp(1, 1, 0));
	CHECK_OK(sys(pipe(pipes)));
	CHECK_EQ(write(pipes[1], AT(view, PAGE), 8), 8);
	CHECK_EQ(read(pipes[0], &word, 8), 8);
	CHECK_EQ(word, 0);
}

/* ---- Ways a file can grow ------------------------------------------------ */

/* All put @data at page @page, which lies beyond the end of @fd. */
static void grow_by_write(int fd, unsigned int page, const void *data)
{
	CHECK_EQ(pwrite(fd, data, PAGE, page * PAGE), PAGE);
}

static void grow_by_truncate(int fd, unsigned int page, const void *data)
{
	void *map;

	CHECK_OK(sys(ftruncate(fd, (page + 1) * PAGE)));
	/* Nobody is told of this: there are to be no sink pages any more. */
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   page * PAGE);
	CHECK(map != MAP_FAILED);
	memcpy(map, data, PAGE);
	CHECK_OK(sys(munmap(map, PAGE)));
}

static void grow_by_fallocate(int fd, unsigned int page, const void *data)
{
	CHECK_OK(sys(fallocate(fd, 0, page * PAGE, PAGE)));
	grow_by_truncate(fd, page, data);
}

static void grow_by_copy(int fd, unsigned int page, const void *data)
{
	int from = backing_new_on(backing_fs(), 9, 0);
	loff_t in = 0, out = page * PAGE;

	CHECK_EQ(pwrite(from, data, PAGE, 0), PAGE);
	CHECK_EQ(copy_file_range(from, &in, fd, &out, PAGE, 0), PAGE);
	close(from);
}

static void grow_by_clone(int fd, unsigned int page, const void *data)
{
	struct file_clone_range range = {
		.src_length = PAGE, .dest_offset = page * PAGE,
	};
	int from;

	if (!backing_is("xfs") && !backing_is("btrfs")) {
		grow_by_write(fd, page, data);
		return;
	}
	from = backing_new_on(backing_fs(), 9, 0);
	CHECK_EQ(pwrite(from, data, PAGE, 0), PAGE);
	range.src_fd = from;
	CHECK_OK(sys(ioctl(fd, FICLONERANGE, &range)));
	close(from);
}

static void grow_by_splice(int fd, unsigned int page, const void *data)
{
	loff_t out = page * PAGE;
	int pipes[2];

	CHECK_OK(sys(pipe(pipes)));
	CHECK_EQ(write(pipes[1], data, PAGE), PAGE);
	CHECK_EQ(splice(pipes[0], NULL, fd, &out, PAGE, 0), PAGE);
	close(pipes[0]);
	close(pipes[1]);
}

static void grow_by_ring(int fd, unsigned int page, const void *data)
{
	struct io_uring_params p = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &p);
	struct io_uring_sqe *sqe;
	uint32_t *tail, *array;
	char *sq;

	CHECK(ring >= 0);
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(uint32_t),
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		  IORING_OFF_SQ_RING);
	sqe = mmap(NULL, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	CHECK(sq != MAP_FAILED && sqe != MAP_FAILED);
	tail = (uint32_t *)(sq + p.sq_off.tail);
	array = (uint32_t *)(sq + p.sq_off.array);
	*sqe = (struct io_uring_sqe){
		.opcode = IORING_OP_WRITE, .fd = fd, .off = page * PAGE,
		.addr = (uintptr_t)data, .len = PAGE,
	};
	array[0] = 0;
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	CHECK_EQ(syscall(SYS_io_uring_enter, ring, 1, 1,
			 IORING_ENTER_GETEVENTS, NULL, 0), 1);
	close(ring);
	CHECK_OK(sys(munmap(sq, p.sq_off.array + p.sq_entries *
			    sizeof(uint32_t))));
	CHECK_OK(sys(munmap(sqe, p.sq_entries * sizeof(*sqe))));
}

/* Tells nobody on older kernels. */
static void grow_by_aio(int fd, unsigned int page, const void *data)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)fd,
		.aio_buf = (uintptr_t)data, .aio_nbytes = PAGE,
		.aio_offset = page * PAGE,
	}, *cbs[1] = { &cb };
	struct io_event event;
	aio_context_t ctx = 0;

	CHECK_OK(sys(syscall(SYS_io_setup, 1, &ctx)));
	CHECK_EQ(syscall(SYS_io_submit, ctx, 1, cbs), 1);
	CHECK_EQ(syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.res, PAGE);
	CHECK_OK(sys(syscall(SYS_io_destroy, ctx)));
}

/*
 * Both of two mappers use pages beyond the end; the file grows over one of
 * them, and when the call that did it has returned (@told) or soon after, both
 * see what the file has. The others stay as they were. Newer kernels tell
 * nobody of what is done to a memfd.
 */
static void grow(void (*how)(int fd, unsigned int page, const void *data),
		 bool told)
{
	static uint64_t data[PAGE / 8] __attribute__((aligned(4096)));
	int fd = backing_new(1, 2);
	int ctl = sink_view(SIZE);
	void *views[2];

	told = told && !backing_is("memfd");
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	for (unsigned int m = 0; m < 2; m++) {
		views[m] = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
		for (unsigned int i = 2; i < 12; i++)
			CHECK_EQ(must_read(AT(views[m], i * PAGE)), 0);
		must_write(AT(views[m], 11 * PAGE), 100 + m);
	}
	for (unsigned int i = 2; i < 10; i++) {
		for (unsigned int m = 0; m < 2; m++)
			must_write(AT(views[m], i * PAGE), 50 + m);
		stamp_page(data, stamp(7, i, 0));
		how(fd, i, data);
		for (unsigned int m = 0; m < 2; m++) {
			uint64_t end = deadline(10000);

			while (!told && must_read(AT(views[m], i * PAGE)) !=
						data[0])
				CHECK(now_ms() < end);
			check_page(AT(views[m], i * PAGE), data[0],
				   "what the file has got");
			CHECK_EQ(must_read(AT(views[m], 11 * PAGE)), 100 + m);
		}
		must_write(AT(views[0], i * PAGE), 1);
		CHECK_EQ(must_read(AT(views[1], i * PAGE)), 1);
	}
	/* Nothing that was written beyond the end got into the file. */
	CHECK_OK(sys(ftruncate(fd, SIZE)));
	CHECK_EQ(must_read(AT(views[0], 11 * PAGE)), 0);
	CHECK_EQ(get_info(ctl).sink_pages, 0);
	CHECK_EQ(get_info(ctl).read_errors, 0);
	CHECK_EQ(get_info(ctl).lost_writes, 0);
}

TEST_EACH_FS(growth_by_write)
{
	grow(grow_by_write, true);
}

TEST_EACH_FS(growth_by_truncate)
{
	grow(grow_by_truncate, true);
}

TEST_EACH_FS(growth_by_fallocate)
{
	grow(grow_by_fallocate, true);
}

TEST_EACH_FS(growth_by_copy)
{
	grow(grow_by_copy, true);
}

TEST_EACH_FS(growth_by_clone)
{
	grow(grow_by_clone, true);
}

TEST_EACH_FS(growth_by_splice)
{
	grow(grow_by_splice, true);
}

TEST_EACH_FS(growth_by_io_uring)
{
	grow(grow_by_ring, true);
}

TEST_EACH_FS(growth_by_aio)
{
	grow(grow_by_aio, false);
}

/* A file below overlayfs that is written to past it. */
TEST(growth_below_overlayfs)
{
	int fd = backing_new_on("overlay", 1, 1), below;
	int ctl = sink_view(SIZE);
	uint64_t data[PAGE / 8];
	char path[512];
	void *view;

	snprintf(path, sizeof(path), "%s/layers/upper%s", fs_dir("ext4"),
		 strrchr(backing_path(), '/'));
	below = open(path, O_RDWR | O_CLOEXEC);
	CHECK(below >= 0);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_EQ(must_read(AT(view, PAGE)), 0);
	stamp_page(data, 4711);
	CHECK_EQ(pwrite(below, data, PAGE, PAGE), PAGE);
	check_page(AT(view, PAGE), 4711, "what the file below has got");
}

/* Shrinks and grows at random, beside a reader that must not see the past. */
struct grower {
	int fd;
	uint64_t size;		/* pages; ~0: changing */
	uint64_t round;
	int stop;
};

static void *grow_at_random(void *arg)
{
	struct grower *g = arg;
	uint64_t seed = 4711, data[PAGE / 8];

	while (!__atomic_load_n(&g->stop, __ATOMIC_SEQ_CST)) {
		uint64_t pages = rnd(&seed) % PAGES;

		__atomic_store_n(&g->size, ~0ULL, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&g->round, 1, __ATOMIC_SEQ_CST);
		CHECK_OK(sys(ftruncate(g->fd, 0)));
		for (uint64_t i = 0; i < pages; i++) {
			stamp_page(data, stamp(3, i, 1));
			CHECK_EQ(pwrite(g->fd, data, PAGE, i * PAGE), PAGE);
		}
		__atomic_store_n(&g->size, pages, __ATOMIC_SEQ_CST);
		sleep_ms(rnd(&seed) % 10);
	}
	return NULL;
}

TEST_EACH_FS_LIMIT(growth_against_faults, 60)
{
	uint64_t seed = 815, end = now_ms() + 1000, checked = 0;
	struct grower g = { .fd = backing_new(3, 0) };
	int ctl = sink_view(SIZE);
	bool polled = backing_is("memfd");
	pthread_t thread;
	void *view;

	CHECK_OK(map_fd(ctl, g.fd, 0, SIZE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK(!pthread_create(&thread, NULL, grow_at_random, &g));
	while (now_ms() < end || checked < 200) {
		uint64_t round = __atomic_load_n(&g.round, __ATOMIC_SEQ_CST);
		uint64_t size = __atomic_load_n(&g.size, __ATOMIC_SEQ_CST);
		uint64_t page = rnd(&seed) % PAGES;
		uint64_t got = must_read(AT(view, page * PAGE + 64));

		/* Only where there is no file may it write. */
		if (size != ~0ULL && page >= size)
			got = 0;
		if (size == ~0ULL ||
		    round != __atomic_load_n(&g.round, __ATOMIC_SEQ_CST))
			continue;
		checked++;
		if (page < size && !(polled && !got))
			CHECK_EQ(got, stamp(3, page, 1));
	}
	__atomic_store_n(&g.stop, 1, __ATOMIC_SEQ_CST);
	CHECK(!pthread_join(thread, NULL));
	note("%llu reads checked, %llu sink pages",
	     (unsigned long long)checked,
	     (unsigned long long)get_info(ctl).sinks);
	CHECK_EQ(get_info(ctl).read_errors, 0);
}

/* ---- Limits ---------------------------------------------------------------- */

/* One more than the limit drops all, and stops nobody. */
TEST(limit)
{
	enum { MANY = 500 };
	int ctl = sink_view(MANY * PAGE);
	void *view = view_mmap(ctl, MANY * PAGE, PROT_READ | PROT_WRITE);

	write_file(max_path, "100");
	for (unsigned int i = 0; i < MANY; i++) {
		must_write(AT(view, i * PAGE), i + 1);
		CHECK(get_info(ctl).sink_pages <= 100);
		CHECK_EQ(must_read(AT(view, i * PAGE)), i + 1);
	}
	CHECK_EQ(get_info(ctl).sinks, MANY);
	write_file(max_path, "4096");
}

/* They are the mapper's memory. */
TEST(memory_of_the_mapper)
{
	enum { MANY = 1000 };
	int ctl = sink_view(MANY * PAGE);
	char path[160], text[32] = "";
	long long before, after;
	void *view;
	int fd;

	snprintf(path, sizeof(path), "%s/memory.current", cgroup_enter());
	view = view_mmap(ctl, MANY * PAGE, PROT_READ);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && pread(fd, text, sizeof(text) - 1, 0) > 0);
	before = atoll(text);
	for (unsigned int i = 0; i < MANY; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), 0);
	CHECK(pread(fd, text, sizeof(text) - 1, 0) > 0);
	after = atoll(text);
	note("%lld bytes for %u pages", after - before, MANY);
	CHECK(after - before >= (long long)(MANY * PAGE * 9 / 10));
}

/* The end of the view is no time for empty pages that pass for data. */
TEST(end_of_the_view)
{
	int fd = backing_new(1, 1);
	int ctl = sink_view(SIZE);
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);

	CHECK_OK(map_fd(ctl, fd, 0, SIZE / 2, 0, RD | WR));
	must_write(AT(view, PAGE), 1);
	must_write(AT(view, SIZE / 2), 1);
	close(ctl);
	must_sigbus(view);
	must_sigbus(AT(view, PAGE));
	must_sigbus(AT(view, SIZE / 2));
}
