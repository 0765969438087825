// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host does to a mapped file shows through the view at once:
 * truncation, extension, holes, unlinking, writes by other means.
 */
#include <linux/falloc.h>
#include <pthread.h>

#include "memview_test.h"

enum { PAGES = 64 };
#define SIZE	(PAGES * PAGE)

static int ctl;
static void *view;

static int mapped_file(unsigned int flags)
{
	int fd = backing_new(1, PAGES);

	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, flags));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	return fd;
}

static void check_stamps(unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++)
		CHECK_EQ(must_read(AT(view, i * PAGE)), stamp(1, i, 0));
}

TEST_EACH_FS(truncate_and_extend)
{
	int fd = mapped_file(RD | WR);

	check_stamps(0, PAGES);
	CHECK_OK(sys(ftruncate(fd, 10 * PAGE)));
	for (unsigned int i = 10; i < PAGES; i++) {
		must_sigbus(AT(view, i * PAGE));
		must_not_write(AT(view, i * PAGE));
	}
	check_stamps(0, 10);
	CHECK_OK(sys(ftruncate(fd, SIZE)));
	for (unsigned int i = 10; i < PAGES; i++)
		check_page(AT(view, i * PAGE), 0, "extended page");
	must_write(AT(view, 20 * PAGE), 77);
	CHECK_EQ(must_read(AT(view, 20 * PAGE)), 77);

	/* In the middle of a page: its rest reads as zeros. */
	CHECK_OK(sys(ftruncate(fd, 5 * PAGE + 8)));
	CHECK_EQ(must_read(AT(view, 5 * PAGE)), stamp(1, 5, 0));
	CHECK_EQ(must_read(AT(view, 5 * PAGE + 8)), 0);
	must_sigbus(AT(view, 6 * PAGE));

	/* To nothing and back, by writing. */
	CHECK_OK(sys(ftruncate(fd, 0)));
	must_sigbus(view);
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t word = stamp(9, i, 1);

		CHECK_EQ(pwrite(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(must_read(AT(view, i * PAGE)), word);
	}
	CHECK_EQ(get_info(ctl).segments, 1);
}

TEST_EACH_FS(many_truncations)
{
	int fd = mapped_file(RD | WR);

	for (unsigned int i = 0; i < 60; i++) {
		unsigned int keep = i % (PAGES - 1);

		CHECK_OK(sys(ftruncate(fd, keep * PAGE)));
		must_sigbus(AT(view, keep * PAGE));
		must_sigbus(AT(view, SIZE - PAGE));
		CHECK_OK(sys(ftruncate(fd, SIZE)));
		CHECK_EQ(must_read(AT(view, keep * PAGE)), 0);
		must_write(AT(view, keep * PAGE), i + 1);
		must_write(AT(view, SIZE - PAGE), i + 1);
	}
}

TEST_EACH_FS(punch_hole)
{
	int fd = mapped_file(RD | WR);

	if (backing_is("virtiofs"))
		note("punched by the file system's server");
	check_stamps(0, PAGES);
	must_write(AT(view, 9 * PAGE + 8), 1);
	CHECK_OK(sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       8 * PAGE, 4 * PAGE)));
	for (unsigned int i = 8; i < 12; i++)
		check_page(AT(view, i * PAGE), 0, "page of a hole");
	check_stamps(0, 8);
	check_stamps(12, PAGES);
	must_write(AT(view, 10 * PAGE), 5);
	CHECK_EQ(must_read(AT(view, 10 * PAGE)), 5);
	/* All of it, many times. */
	for (unsigned int i = 0; i < 40; i++) {
		must_write(AT(view, i % PAGES * PAGE), i + 1);
		CHECK_OK(sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, 0, SIZE)));
		CHECK_EQ(must_read(AT(view, i % PAGES * PAGE)), 0);
	}
}

TEST_EACH_FS(unlinked_file_lives)
{
	int fd = mapped_file(RD | WR);
	struct stat st;

	if (!backing_is("memfd"))
		CHECK_OK(sys(unlink(backing_path())));
	close(fd);
	check_stamps(0, PAGES);
	must_write(view, 4);
	CHECK_EQ(must_read(view), 4);
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	must_sigbus(view);
	if (!backing_is("memfd"))
		CHECK(stat(backing_path(), &st) < 0);
}

TEST_EACH_FS(writes_by_other_means)
{
	int fd = mapped_file(RD | WR);
	uint64_t *direct;

	direct = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(direct != MAP_FAILED);
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t word = stamp(1, i, 1);

		CHECK_EQ(pwrite(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(must_read(AT(view, i * PAGE)), word);
		must_write(AT(view, i * PAGE + 8), stamp(1, i, 2));
		CHECK_EQ(pread(fd, &word, 8, i * PAGE + 8), 8);
		CHECK_EQ(word, stamp(1, i, 2));
		must_write(AT(direct, i * PAGE + 16), stamp(1, i, 3));
		CHECK_EQ(must_read(AT(view, i * PAGE + 16)), stamp(1, i, 3));
		/* The very same page, not a copy. */
		CHECK(pfn_of(AT(view, i * PAGE)));
		CHECK_EQ(pfn_of(AT(view, i * PAGE)),
			 pfn_of(AT(direct, i * PAGE)));
	}
}

/* A file rewritten and grown page by page behind the view. */
TEST_EACH_FS(growing_file)
{
	int fd = backing_new(1, 0);

	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD));
	view = view_mmap(ctl, SIZE, PROT_READ);
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t word = stamp(2, i, 0);

		must_sigbus(AT(view, i * PAGE));
		CHECK_EQ(pwrite(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(must_read(AT(view, i * PAGE)), word);
	}
}

/* Two ranges of the view, and of two views, on one part of the file. */
TEST_EACH_FS(aliases)
{
	int fd = backing_new(1, PAGES);
	int other = ctl_new(SIZE);
	void *view2;

	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, 0, 8 * PAGE, 0, RD | WR));
	CHECK_OK(map_fd(ctl, fd, 4 * PAGE, 8 * PAGE, 32 * PAGE, RD | WR));
	CHECK_OK(map_fd(other, fd, 0, 16 * PAGE, 0, RD | WR));
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	view2 = view_mmap(other, SIZE, PROT_READ | PROT_WRITE);
	must_write(AT(view, 5 * PAGE), 55);
	CHECK_EQ(must_read(AT(view, 33 * PAGE)), 55);
	CHECK_EQ(must_read(AT(view2, 5 * PAGE)), 55);
	CHECK_OK(sys(ftruncate(fd, 5 * PAGE)));
	must_sigbus(AT(view, 5 * PAGE));
	must_sigbus(AT(view, 33 * PAGE));
	must_sigbus(AT(view2, 5 * PAGE));
	CHECK_EQ(must_read(AT(view, 32 * PAGE)), stamp(1, 4, 0));
}

/* Far beyond one chunk of the file, and across a GiB boundary of it. */
TEST_EACH_FS(distant_offsets)
{
	int fd = backing_new(1, 1);
	uint64_t offset = 3 * GIB - 2 * PAGE;
	uint64_t word;

	CHECK_OK(sys(ftruncate(fd, 3 * GIB + 2 * PAGE)));
	for (unsigned int i = 0; i < 4; i++) {
		word = stamp(3, i, 0);
		CHECK_EQ(pwrite(fd, &word, 8, offset + i * PAGE), 8);
	}
	ctl = ctl_new(SIZE);
	CHECK_OK(map_fd(ctl, fd, offset, 4 * PAGE, PAGE, RD | WR));
	CHECK_EQ(get_info(ctl).segments, 1);
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	for (unsigned int i = 0; i < 4; i++) {
		CHECK_EQ(must_read(AT(view, (1 + i) * PAGE)), stamp(3, i, 0));
		must_write(AT(view, (1 + i) * PAGE), i + 1);
	}
	CHECK_OK(sys(ftruncate(fd, 3 * GIB)));
	CHECK_EQ(must_read(AT(view, 2 * PAGE)), 2);
	must_sigbus(AT(view, 3 * PAGE));
	CHECK_OK(sys(ftruncate(fd, 0)));
	must_sigbus(AT(view, PAGE));
}

static int stop;
static uint64_t toucher_reads;

static void *toucher(void *arg)
{
	uint64_t seed = 99;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		unsigned int i = rnd(&seed) % PAGES;
		uint64_t value;

		if (!try_read(AT(view, i * PAGE), &value)) {
			toucher_reads++;
			if (value && value != stamp(1, i, 0))
				FAIL("page %u: 0x%llx", i,
				     (unsigned long long)value);
		}
	}
	return NULL;
}

/*
 * A tmpfs keeps a large folio across its file's end where a fault that races
 * with the truncation holds it, and the core maps all of it: zeros, then.
 */
static void must_be_gone(const void *at)
{
	uint64_t value;

	if (!backing_is("huge"))
		must_sigbus(at);
	else if (!try_read(at, &value))
		CHECK_EQ(value, 0);
}

/*
 * Truncation races with faults: when ftruncate() has returned, no thread can
 * read the old page. (A page that a racing fault inserted late would stay.)
 */
TEST_EACH_FS(truncate_against_faults)
{
	int fd = mapped_file(RD | WR);
	uint64_t end = now_ms() + 700, rounds = 0;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, toucher, NULL));
	run_first();
	while (now_ms() < end || rounds < 10) {
		unsigned int keep = (PAGES - 8 + rounds) % PAGES;

		CHECK_OK(sys(ftruncate(fd, keep * PAGE)));
		for (unsigned int i = keep; i < PAGES; i++)
			must_be_gone(AT(view, i * PAGE));
		CHECK_OK(sys(ftruncate(fd, SIZE)));
		for (unsigned int i = keep; i < PAGES; i++) {
			CHECK_EQ(must_read(AT(view, i * PAGE)), 0);
			/* One store: pwrite() may show half a word. */
			must_write(AT(view, i * PAGE), stamp(1, i, 0));
		}
		rounds++;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	note("%llu truncations, %llu reads beside them",
	     (unsigned long long)rounds, (unsigned long long)toucher_reads);
	CHECK(toucher_reads > 0);
}

/* What execve() of the file says: 0, or an errno. */
static int execute(int fd)
{
	char path[32];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	pid = fork();
	CHECK_OK(sys(pid));
	if (!pid) {
		execl(path, path, NULL);
		_exit(errno);
	}
	CHECK(wait_ended(pid, 10, &status) && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void wait_executable(int fd)
{
	uint64_t end = deadline(15000);

	while (execute(fd)) {
		if (now_ms() > end)
			FAIL("the file is still busy");
		sleep_ms(5);
	}
}

/* The file once more: a memfd's own descriptor is not counted as a writer. */
static int open_again(int fd, int flags)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags);
	CHECK_OK(sys(again));
	return again;
}

static void map_writable(int fd)
{
	int writable = open_again(fd, O_RDWR);

	CHECK_OK(map_fd(ctl, writable, 0, SIZE, 0, RD | WR));
	CHECK_OK(sys(close(writable)));
	must_write(AT(view, PAGE), 77);
	CHECK_EQ(execute(fd), ETXTBSY);
}

enum { BUSY_ROUNDS = 3 };

/*
 * A file is open for writing while it can be written, and no longer, whatever
 * becomes of the time for which others are kept open.
 */
TEST_EACH_FS(executable_unless_writable)
{
	static const char script[] = "#!/bin/true\n";
	int fd = mapped_file(RD);
	int ro = open_again(fd, O_RDONLY);

	CHECK_EQ(pwrite(fd, script, strlen(script), 0), strlen(script));
	CHECK_OK(sys(fchmod(fd, 0755)));
	CHECK_OK(map_fd(ctl, ro, 0, SIZE, 0, RD));
	CHECK_OK(sys(close(fd)));
	for (unsigned int i = 0; i < BUSY_ROUNDS; i++) {
		/* A range that becomes a read-only one. */
		map_writable(ro);
		CHECK_OK(map_fd(ctl, ro, 0, SIZE, 0, RD));
		keep_unused_files("3600000");
		wait_executable(ro);
		CHECK_EQ(must_read(AT(view, PAGE)), 77);
		must_not_write(AT(view, PAGE));

		/* One that goes. */
		map_writable(ro);
		CHECK_OK(unmap_fd(ctl, 0, SIZE));
		keep_unused_files("250");
		wait_executable(ro);
	}
}
