// SPDX-License-Identifier: GPL-2.0-only
/*
 * The opener, or a mapper, ends after each step of its life, and in the middle of
 * each: by itself, and killed. Nothing of the view is left, others that use it
 * see it end or go on, and what was written is in the file.
 */
#include <sys/syscall.h>

#include "memview_test.h"

enum { PAGES = 32, MARK = 0x6d61726b };
#define SIZE	(PAGES * PAGE)

/* Shared with the one that dies. */
struct life {
	volatile unsigned int steps;
	volatile int ctl;
	volatile int vfd;
	volatile bool written;
};

static struct life *life;
static int fd;
static void *map;

static void step_open(void)
{
	int ctl = life->ctl >= 0 ? life->ctl : ctl_open();

	life->ctl = ctl;
}

static void step_policy(void)
{
	uint64_t policy = MEMVIEW_FAULT_SINK;

	ioctl(life->ctl, MEMVIEW_SET_FAULT_POLICY, &policy);
}

static void step_size(void)
{
	set_size(life->ctl, SIZE);
}

static void step_viewfd(void)
{
	if (life->vfd < 0)
		life->vfd = get_viewfd(life->ctl);
}

static void step_mmap(void)
{
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, life->vfd,
		   0);
	CHECK(map != MAP_FAILED);
}

static void step_map(void)
{
	CHECK_OK(map_fd(life->ctl, fd, 0, SIZE / 2, 0, RD | WR));
}

static void step_read(void)
{
	drop_file(fd);
	for (unsigned int i = 0; i < PAGES / 2; i++) {
		uint64_t value = must_read(AT(map, i * PAGE));

		/* The rest was truncated in an earlier life. */
		if (i < PAGES / 4)
			CHECK_EQ(value, stamp(1, i, 0));
	}
}

static void step_write(void)
{
	must_write(AT(map, 8), MARK);
	life->written = true;
	for (unsigned int i = 1; i < PAGES / 2; i++)
		must_write(AT(map, i * PAGE + 8), i);
}

static void step_sink(void)
{
	uint64_t value;

	for (unsigned int i = PAGES / 2; i < PAGES; i++)
		try_read(AT(map, i * PAGE), &value);
}

static void step_remap(void)
{
	for (unsigned int i = 0; i < PAGES / 2; i += 2)
		CHECK_OK(map_fd(life->ctl, fd, i * PAGE, PAGE,
				SIZE / 2 + i * PAGE, RD | WR));
}

static void step_sync(void)
{
	CHECK_OK(sys(msync(map, SIZE, MS_SYNC)));
}

static void step_truncate(void)
{
	CHECK_OK(sys(ftruncate(fd, SIZE / 4)));
	CHECK_OK(sys(ftruncate(fd, SIZE / 2)));
}

static void step_cut(void)
{
	CHECK_OK(sys(munmap(AT(map, 4 * PAGE), PAGE)));
	CHECK_OK(sys(mprotect(AT(map, 8 * PAGE), PAGE, PROT_READ)));
}

static void step_unmap(void)
{
	CHECK_OK(unmap_fd(life->ctl, PAGE, SIZE / 4));
}

static void step_fork(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid)
		_exit(0);
	wait_child(pid, 20);
}

static void step_munmap(void)
{
	CHECK_OK(sys(munmap(map, SIZE)));
}

static void step_close(void)
{
	close(life->vfd);
	close(life->ctl);
}

static void (*const steps[])(void) = {
	step_open, step_policy, step_size, step_viewfd, step_mmap, step_map,
	step_read, step_write, step_sink, step_remap, step_sync, step_truncate,
	step_cut, step_unmap, step_fork, step_munmap, step_close,
};

static pid_t live(unsigned int end)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		if (i == end)
			_exit(0);
		steps[i]();
		life->steps = i + 1;
	}
	_exit(0);
}

static unsigned long module_users(void)
{
	unsigned long users = 0;
	char line[512];
	FILE *f = fopen("/proc/modules", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memory_view %*s %lu", &users) == 1)
			break;
	fclose(f);
	return users;
}

/* What is left of the view, for who has it mapped: nothing. */
static void check_end(void *view, bool marked)
{
	uint64_t word[2], end = deadline(20000);

	/* Its address space goes first, its files may take a moment longer. */
	for (unsigned int i = 0; view && i < PAGES; i++)
		while (try_read(AT(view, i * PAGE), &word[0]) != SIGBUS)
			CHECK(now_ms() < end);
	CHECK_EQ(pread(fd, word, sizeof(word), 0), sizeof(word));
	CHECK_EQ(word[0], stamp(1, 0, 0));
	if (marked)
		CHECK_EQ(word[1], MARK);
}

static void begin_life(int ctl, int vfd)
{
	uint64_t none = 0;

	CHECK_OK(sys(ftruncate(fd, SIZE / 2)));
	CHECK_EQ(pwrite(fd, &none, sizeof(none), 8), sizeof(none));
	life->steps = 0;
	life->ctl = ctl;
	life->vfd = vfd;
	life->written = false;
}

/*
 * A view fd of another process, which may be dying; -1 if there is none. It
 * keeps neither the process nor the view.
 */
static int steal(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int vfd;

	CHECK(pidfd >= 0);
	vfd = life->vfd < 0 ? -1 :
	      (int)syscall(SYS_pidfd_getfd, pidfd, life->vfd, 0);
	close(pidfd);
	return vfd;
}

/* Waits until @pid has done @end steps. Returns true if it has ended by then. */
static bool reached(pid_t pid, unsigned int end, int *status)
{
	while (life->steps < end)
		if (wait_ended(pid, 0, status))
			return true;
	return false;
}

/* Kills @pid, @us from now. It may have come to its end before. */
static void kill_after(pid_t pid, long us, int *status)
{
	usleep((useconds_t)us);
	kill(pid, SIGKILL);
	CHECK(wait_ended(pid, 20, status));
}

/* The opener ends after @end steps, or is killed @us later than that. */
static void opener_dies(unsigned int end, long us)
{
	bool killed = us >= 0;
	void *view = NULL;
	int status, vfd;
	pid_t pid;

	begin_life(-1, -1);
	pid = live(killed ? ~0U : end);
	if (!killed) {
		CHECK(wait_ended(pid, 20, &status));
	} else if (!reached(pid, end, &status)) {
		vfd = steal(pid);
		if (vfd >= 0) {
			view = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, vfd, 0);
			CHECK(view != MAP_FAILED);
			close(vfd);
		}
		kill_after(pid, us, &status);
	}
	CHECK(!status || (killed && WIFSIGNALED(status)));
	check_end(view, life->written);
	if (view)
		munmap(view, SIZE);
}

/* A mapper that may map and unmap, too, does. The view goes on. */
static void mapper_dies(int ctl, unsigned int end, long us)
{
	int vfd = get_viewfd(ctl), status;
	void *view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	bool killed = us >= 0;
	pid_t pid;

	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	begin_life(ctl, vfd);
	pid = live(killed ? ~0U : end);
	if (!killed)
		CHECK(wait_ended(pid, 20, &status));
	else if (!reached(pid, end, &status))
		kill_after(pid, us, &status);
	CHECK(!status || (killed && WIFSIGNALED(status)));
	check_end(NULL, life->written);
	CHECK_OK(map_fd(ctl, fd, 0, PAGE, 0, RD | WR));
	CHECK_EQ(must_read(view), stamp(1, 0, 0));
	must_write(AT(view, 8), 0);
	CHECK_EQ(get_info(ctl).sink_pages, 0);
	munmap(view, SIZE);
	close(vfd);
}

/* How long after the begin of a step the kill comes; -1: the end of it instead. */
static const long kill_us[] = { -1, 0, 500 };

static void begin(const char *fs)
{
	life = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(life != MAP_FAILED);
	fd = backing_new_on(fs, 1, PAGES / 2);
}

static void openers_die(const char *fs)
{
	unsigned long users = module_users();
	uint64_t end;

	begin(fs);
	for (unsigned int i = 1; i < ARRAY_SIZE(steps); i++)
		for (unsigned int j = 0; j < ARRAY_SIZE(kill_us); j++)
			opener_dies(i, kill_us[j]);
	end = deadline(20000);
	while (module_users() > users)
		CHECK(now_ms() < end);
}

static void mappers_die(const char *fs)
{
	int ctl;

	begin(fs);
	ctl = ctl_new(SIZE);
	for (unsigned int i = 1; i < ARRAY_SIZE(steps); i++)
		for (unsigned int j = 0; j < ARRAY_SIZE(kill_us); j++)
			mapper_dies(ctl, i, kill_us[j]);
}

TEST_LIMIT(opener_memfd, 60)
{
	openers_die("memfd");
}

TEST_LIMIT(opener_ext4, 60)
{
	openers_die("ext4");
}

TEST_LIMIT(opener_virtiofs, 60)
{
	openers_die("virtiofs");
}

TEST_LIMIT(mapper_memfd, 60)
{
	mappers_die("memfd");
}

TEST_LIMIT(mapper_ext4, 60)
{
	mappers_die("ext4");
}

TEST_LIMIT(mapper_virtiofs, 60)
{
	mappers_die("virtiofs");
}
