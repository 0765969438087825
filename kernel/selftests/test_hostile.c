// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile caller: calls with every field at its limits, in every size, from
 * several threads, on control and view fds, beside mmaps, forks and closes.
 * Only errnos may come of it; what the kernel says is read by the harness.
 */
#include <pthread.h>
#include <sys/syscall.h>

#include "memview_test.h"

enum { THREADS = 4, FILES = 6, PAGES = 256 };
#define SIZE	(PAGES * PAGE)

static const uint64_t limits[] = {
	0, 1, 2, 7, 8, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 16 * PAGE,
	SIZE - PAGE, SIZE - 1, SIZE, SIZE + PAGE, 2 * MIB, GIB, 4 * GIB,
	1ULL << 31, (1ULL << 31) - 1, 1ULL << 32, 1ULL << 44, 1ULL << 47,
	1ULL << 52, (1ULL << 52) - PAGE, 1ULL << 62, 1ULL << 63,
	(1ULL << 63) - 1, (1ULL << 63) - PAGE, ~0ULL, ~0ULL - PAGE + 1,
	~0ULL << 12, 0x5555555555555555ULL,
};

static int files[FILES];
static int stop;
static uint64_t calls[THREADS], successes[THREADS];

static uint64_t odd(uint64_t *seed)
{
	uint64_t pick = rnd(seed) % 8;

	if (pick < 4)
		return limits[rnd(seed) % ARRAY_SIZE(limits)];
	if (pick < 7)
		return rnd(seed) % PAGES * PAGE;
	return rnd(seed);
}

static const void *odd_pointer(uint64_t *seed, const void *good)
{
	switch (rnd(seed) % 10) {
	case 0:
		return NULL;
	case 1:
		return (void *)16;
	case 2:
		return (void *)(uintptr_t)rnd(seed);
	case 3:
		return (void *)0xffffffff81000000UL;
	case 4:
		return (void *)0x00007fffffffefffUL;
	default:
		return good;
	}
}

static int odd_fd(uint64_t *seed, int ctl, int vfd)
{
	static const int bad[] = { -1, -2, -100, 1 << 30, 0x7fffffff,
				   -0x7fffffff - 1 };

	switch (rnd(seed) % 12) {
	case 0:
		return ctl;
	case 1:
		return vfd;
	case 2:
		return bad[rnd(seed) % ARRAY_SIZE(bad)];
	case 3:
		return (int)(rnd(seed) % 64);
	default:
		return files[rnd(seed) % FILES];
	}
}

static uint64_t odd_flags(uint64_t *seed)
{
	switch (rnd(seed) % 6) {
	case 0:
		return rnd(seed);
	case 1:
		return 1ULL << (rnd(seed) % 64);
	default:
		return rnd(seed) % 8;
	}
}

/* One call to @fd; returns what ioctl() gave. */
static long one_call(uint64_t *seed, int fd, int ctl, int vfd)
{
	static const unsigned int good[] = {
		MEMVIEW_GET_INFO, MEMVIEW_SET_SIZE, MEMVIEW_MAP_FD,
		MEMVIEW_UNMAP_FD, MEMVIEW_UNMAP_FDS, MEMVIEW_GET_VIEWFD,
		MEMVIEW_MAP_FD, MEMVIEW_MAP_FD, MEMVIEW_UNMAP_FD,
		MEMVIEW_SET_FAULT_POLICY, MEMVIEW_GET_USE,
	};
	static __thread struct memview_range ranges[MEMVIEW_UNMAP_MAX + 8];
	union {
		unsigned char raw[16384];
		uint64_t words[2048];
		struct memview_map_fd_info map;
		struct memview_unmap unmap;
		struct memview_unmap_batch batch;
		uint64_t size;
	} arg;
	unsigned int cmd = good[rnd(seed) % ARRAY_SIZE(good)];
	unsigned int nr = _IOC_NR(cmd);
	unsigned int size = _IOC_SIZE(cmd);

	memset(arg.raw, 0, 256);
	switch (nr) {
	case _IOC_NR(MEMVIEW_SET_FAULT_POLICY):
	case _IOC_NR(MEMVIEW_SET_SIZE):
		arg.size = odd(seed);
		break;
	case _IOC_NR(MEMVIEW_MAP_FD):
		arg.map.fd = odd_fd(seed, ctl, vfd);
		arg.map.pad = rnd(seed) % 8 ? 0 : (uint32_t)rnd(seed);
		arg.map.fd_offset = odd(seed);
		arg.map.size = odd(seed);
		arg.map.mem_offset = odd(seed);
		arg.map.flags = odd_flags(seed);
		break;
	case _IOC_NR(MEMVIEW_UNMAP_FD):
		arg.unmap.range.mem_offset = odd(seed);
		arg.unmap.range.size = odd(seed);
		arg.unmap.flags = rnd(seed) % 4 ? rnd(seed) % 2 : odd(seed);
		break;
	case _IOC_NR(MEMVIEW_UNMAP_FDS):
		for (unsigned int i = 0; i < 16; i++) {
			ranges[rnd(seed) % ARRAY_SIZE(ranges)] =
				(struct memview_range){ odd(seed), odd(seed) };
			ranges[i] = (struct memview_range){
				rnd(seed) % PAGES * PAGE, PAGE
			};
		}
		arg.batch.ranges = (uintptr_t)odd_pointer(seed, ranges);
		arg.batch.count = rnd(seed) % 3 ? rnd(seed) % 16 :
						  (uint32_t)odd(seed);
		arg.batch.flags = rnd(seed) % 4 ? rnd(seed) % 2 :
						  (uint32_t)rnd(seed);
		break;
	}
	switch (rnd(seed) % 8) {
	case 0:		/* another size: a later or a broken version */
		size = rnd(seed) & 1 ? rnd(seed) % 128 : rnd(seed) % 16384;
		memset(arg.raw + sizeof(arg.map), 0,
		       sizeof(arg.raw) - sizeof(arg.map));
		if (rnd(seed) & 1)
			arg.words[rnd(seed) % 2048] = rnd(seed);
		cmd = _IOC(_IOC_DIR(cmd), _IOC_TYPE(cmd), nr, size);
		break;
	case 1:		/* another command altogether */
		cmd = (unsigned int)rnd(seed);
		/* Never one of the VFS's own: FIOCLEX, FIBMAP, FIFREEZE... */
		cmd = _IOC(_IOC_DIR(cmd), MEMVIEW_IOC_MAGIC, _IOC_NR(cmd),
			   size);
		break;
	}
	return ioctl(fd, cmd, odd_pointer(seed, &arg));
}

static void touch(uint64_t *seed, void *view)
{
	void *at = AT(view, rnd(seed) % PAGES * PAGE);
	uint64_t value;

	(void)try_read(at, &value);
	(void)try_write(at, value);
}

struct hostile {
	unsigned int number;
	int ctl, vfd;		/* shared with the other threads */
	void *view;
};

static void *hostile(void *arg)
{
	struct hostile *self = arg;
	uint64_t seed = 0x1234567 + self->number * 7919ULL;
	uint64_t *count = &calls[self->number];

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		int ctl = self->ctl, vfd = self->vfd;
		bool own = rnd(&seed) % 4 == 0;
		void *view = self->view;

		if (own) {
			ctl = ctl_open();
			if (rnd(&seed) % 4)
				(void)set_size(ctl, rnd(&seed) & 1 ? SIZE :
					       odd(&seed));
			vfd = ioctl(ctl, MEMVIEW_GET_VIEWFD);
			view = vfd < 0 ? MAP_FAILED :
			       mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				    MAP_SHARED, vfd, 0);
		}
		for (unsigned int i = 0; i < 40; i++) {
			int fd = rnd(&seed) % 16 ? ctl : vfd;
			long ret = one_call(&seed, fd, ctl, vfd);

			++*count;
			if (ret >= 0)
				successes[self->number]++;
			/* A view fd, or some number that is none of ours. */
			if (ret > 2 && ret != ctl && ret != vfd)
				close((int)ret);
			if (view != MAP_FAILED && rnd(&seed) % 4 == 0)
				touch(&seed, view);
			if (rnd(&seed) % 64 == 0)
				(void)!ftruncate(files[rnd(&seed) % 4],
						 rnd(&seed) % PAGES * PAGE);
			if (view != MAP_FAILED && rnd(&seed) % 64 == 0) {
				(void)!madvise(view, SIZE,
					       (int)(rnd(&seed) % 26));
				(void)!mprotect(view, SIZE,
						(int)(rnd(&seed) % 8));
			}
			if (rnd(&seed) % 64 == 0) {
				void *more = mmap(NULL, (odd(&seed) | 1) %
						  (1ULL << 40),
						  (int)(rnd(&seed) % 8),
						  MAP_SHARED, vfd,
						  (off_t)(odd(&seed) &
							  ~(PAGE - 1)));

				if (more != MAP_FAILED) {
					uint64_t value;

					(void)try_read(more, &value);
					(void)munmap(more, PAGE);
				}
			}
		}
		if (own) {
			if (view != MAP_FAILED && rnd(&seed) % 2)
				(void)munmap(view, SIZE);
			else if (view != MAP_FAILED)
				view = MAP_FAILED;
			if (vfd >= 0)
				close(vfd);
			close(ctl);
		}
	}
	return NULL;
}

TEST_LIMIT(limits_of_every_field, 60)
{
	struct hostile threads[THREADS];
	pthread_t ids[THREADS];
	uint64_t total = 0, good = 0;
	int ctl = ctl_new(SIZE);
	int vfd = get_viewfd(ctl);
	uint64_t seed = 42;
	int pipe_fds[2];

	files[0] = backing_new_on("memfd", 1, PAGES);
	files[1] = backing_new_on("ext4", 2, PAGES);
	files[2] = backing_new_on("xfs", 3, PAGES);
	files[3] = backing_new_on("tmpfs", 4, PAGES);
	files[4] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	CHECK_OK(sys(pipe(pipe_fds)));
	files[5] = pipe_fds[0];
	/*
	 * What has been mapped has its fault policy for good: SIGBUS, by which
	 * the end of this test tells that nothing is shown. Views of the
	 * threads' own come to have the other.
	 */
	CHECK_OK(map_fd(ctl, files[0], 0, PAGE, 0, MEMVIEW_MAP_READ));
	for (unsigned int i = 0; i < THREADS; i++) {
		threads[i] = (struct hostile){
			i, ctl, vfd, view_mmap(ctl, SIZE,
					       PROT_READ | PROT_WRITE),
		};
		CHECK(!pthread_create(&ids[i], NULL, hostile, &threads[i]));
	}
	for (unsigned int i = 0; i < 8; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			for (unsigned int n = 0; n < 500; n++)
				(void)one_call(&seed, ctl, ctl, vfd);
			_exit(0);
		}
		sleep_ms(500);
		wait_child(pid, 20);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < THREADS; i++) {
		CHECK(!pthread_join(ids[i], NULL));
		total += calls[i];
		good += successes[i];
	}
	note("%llu calls, %llu of them good", (unsigned long long)total,
	     (unsigned long long)good);
	/* Both kinds: a fuzzer that never gets in tests nothing. */
	CHECK(good > 50 && total - good > 50);
	/* The view still works. */
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	CHECK_EQ(get_info(ctl).segments, 0);
	must_sigbus(view_mmap(ctl, SIZE, PROT_READ));
}

/* A user buffer that another thread changes while the driver reads it. */
static struct memview_map_fd_info racing;
static struct memview_unmap_batch racing_batch;
static struct memview_range racing_ranges[8];

static void *flipper(void *arg)
{
	uint64_t seed = 3;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		racing.size = odd(&seed);
		racing.mem_offset = odd(&seed);
		racing.fd_offset = odd(&seed);
		racing.flags = rnd(&seed) % 8;
		racing_batch.count = rnd(&seed) % 9;
		racing_ranges[rnd(&seed) % 8].size = odd(&seed);
		racing_ranges[rnd(&seed) % 8].mem_offset = odd(&seed);
	}
	return NULL;
}

TEST(arguments_that_change)
{
	int ctl = ctl_new(SIZE);
	uint64_t end = now_ms() + 1500;
	struct memview_info info;
	pthread_t thread;

	racing.fd = backing_new(1, PAGES);
	racing_batch.ranges = (uintptr_t)racing_ranges;
	CHECK(!pthread_create(&thread, NULL, flipper, NULL));
	while (now_ms() < end) {
		(void)!ioctl(ctl, MEMVIEW_MAP_FD, &racing);
		(void)!ioctl(ctl, MEMVIEW_UNMAP_FDS, &racing_batch);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	info = get_info(ctl);
	note("%llu maps, %llu unmaps, %llu segments",
	     (unsigned long long)info.maps, (unsigned long long)info.unmaps,
	     (unsigned long long)info.segments);
	CHECK(info.maps > 0);
	CHECK(info.segments <= PAGES);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	CHECK_EQ(get_info(ctl).segments, 0);
}

/* Only root may open the device (mode 0600). */
TEST(others_cannot_open_it)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		CHECK_OK(sys(setgid(65534)));
		CHECK_OK(sys(setuid(65534)));
		CHECK_ERR(sys(open(DEVICE, O_RDWR)), EACCES);
		CHECK_ERR(sys(open(DEVICE, O_RDONLY)), EACCES);
		_exit(0);
	}
	wait_child(pid, 10);
}

/* Thousands of views, fds and mappings, all left to exit(2). */
TEST_LIMIT(many_views_at_once, 40)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		int fd = backing_new(1, 4);

		for (unsigned int i = 0; i < 300; i++) {
			int ctl = ctl_new(SIZE);

			CHECK_OK(map_fd(ctl, fd, 0, 4 * PAGE, 0, RD));
			CHECK_EQ(must_read(view_mmap(ctl, SIZE, PROT_READ)),
				 stamp(1, 0, 0));
		}
		_exit(0);
	}
	wait_child(pid, 30);
}
