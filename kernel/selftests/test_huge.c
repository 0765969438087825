// SPDX-License-Identifier: GPL-2.0-only
/*
 * Huge pages: where a file is in memory in pieces of 2 MiB, a view shows it
 * with one entry for each, for reads and for writes, as a mapping of the file
 * itself would be; and whatever happens to such a piece or to a part of it, no
 * byte is lost and nothing stale is seen.
 */
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/utsname.h>

#include "memview_test.h"

#define HUGE		(2 * MIB)
#define SIZE		(4 * HUGE)
#define HUGE_PAGES	(HUGE / PAGE)

/* File systems that can have such pieces; ext4 since 6.16. */
static const char *const large_fs[] = { "huge", "xfs", "ext4" };

/* Is this Linux 6.@minor or newer? */
static bool kernel_is_since(unsigned long minor)
{
	struct utsname name;
	unsigned long major;
	char *dot;

	CHECK_OK(sys(uname(&name)));
	major = strtoul(name.release, &dot, 10);
	CHECK(*dot == '.');
	return major > 6 || (major == 6 && strtoul(dot + 1, NULL, 10) >= minor);
}

static bool kernel_has_large(const char *fs)
{
	return strcmp(fs, "ext4") || kernel_is_since(16);
}

static size_t huge_bytes(const void *at, size_t size)
{
	unsigned long from, to, kib;
	bool inside = false;
	size_t bytes = 0;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from < (uintptr_t)at + size &&
				 to > (uintptr_t)at;
		else if (inside &&
			 (sscanf(line, "FilePmdMapped: %lu", &kib) == 1 ||
			  sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1))
			bytes += kib * 1024;
	}
	fclose(f);
	return bytes;
}

static void *map_aligned(int fd, size_t size)
{
	char *room = mmap(NULL, size + HUGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));

	CHECK(room != MAP_FAILED);
	at = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		  0);
	CHECK(at != MAP_FAILED);
	return at;
}

static void read_all(const char *at, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		(void)must_read(at + i);
}

/* A file of stamped pages in large pieces: a mapping of it says so. */
static int large_new(const char *fs)
{
	static char data[SIZE] __attribute__((aligned(4096)));

	for (unsigned int i = 0; i < SIZE / PAGE; i++)
		stamp_page(data + i * PAGE, stamp(1, i, 0));
	/* Memory may have to be put together first. */
	for (unsigned int tries = 0; tries < 20; tries++) {
		int fd = backing_new_on(fs, 1, 0);
		size_t bytes;
		void *direct;

		CHECK_EQ(pwrite(fd, data, SIZE, 0), SIZE);
		/* See ends_with_a_huge_page(). */
		CHECK_EQ(pwrite(fd, data, PAGE, SIZE), PAGE);
		CHECK_OK(sys(fsync(fd)));
		direct = map_aligned(fd, SIZE);
		read_all(direct, SIZE);
		bytes = huge_bytes(direct, SIZE);
		CHECK_OK(sys(munmap(direct, SIZE)));
		if (bytes == (kernel_has_large(fs) ? SIZE : 0))
			return fd;
		close(fd);
		try_write_file("/proc/sys/vm/compact_memory", "1");
	}
	FAIL("%s gives no huge pages to a mapping of its own", fs);
}

/* A view that shows all of a large file. */
struct shown {
	const char *fs;
	int ctl, fd;
	size_t huge;	/* what should be mapped by huge entries */
	char *view;
};

static struct shown show(const char *fs, uint64_t policy)
{
	struct shown s = { .fs = fs, .ctl = ctl_open() };

	note("%s", fs);
	CHECK_OK(sys(ioctl(s.ctl, MEMVIEW_SET_FAULT_POLICY, &policy)));
	CHECK_OK(set_size(s.ctl, SIZE));
	s.fd = large_new(fs);
	s.huge = kernel_has_large(fs) ? SIZE : 0;
	CHECK_OK(map_fd(s.ctl, s.fd, 0, SIZE, 0, RD | WR));
	s.view = view_mmap(s.ctl, SIZE, PROT_READ | PROT_WRITE);
	CHECK_EQ((uintptr_t)s.view % HUGE, 0);
	return s;
}

static void hide(struct shown *s)
{
	CHECK_OK(sys(munmap(s->view, SIZE)));
	close(s->ctl);
	close(s->fd);
}

static void on_each_with(uint64_t policy, void (*test)(struct shown *s))
{
	for (unsigned int i = 0; i < ARRAY_SIZE(large_fs); i++) {
		struct shown s = show(large_fs[i], policy);

		test(&s);
		hide(&s);
	}
}

static void on_each(void (*test)(struct shown *s))
{
	on_each_with(MEMVIEW_FAULT_SIGBUS, test);
}

static uint64_t in_file(int fd, size_t at)
{
	uint64_t value;

	CHECK_EQ(pread(fd, &value, 8, (off_t)at), 8);
	return value;
}

static void reads_and_writes_on(struct shown *s)
{
	CHECK_EQ(get_use(s->ctl, 0, SIZE).mapped, 0);
	read_all(s->view, SIZE);
	CHECK_EQ(huge_bytes(s->view, SIZE), s->huge);
	CHECK_EQ(get_use(s->ctl, 0, SIZE).mapped, SIZE);
	CHECK_EQ(get_use(s->ctl, 0, SIZE).huge, s->huge);
	CHECK_EQ(get_use(s->ctl, HUGE - PAGE, 2 * PAGE).huge,
		 s->huge ? 2 * PAGE : 0);
	for (unsigned int round = 1; round <= 3; round++) {
		/* Writeback cleans it, and has to see what follows. */
		for (size_t at = 0; at < SIZE; at += 64 * PAGE)
			must_write(s->view + at + 8, round);
		CHECK_EQ(huge_bytes(s->view, SIZE), s->huge);
		CHECK_OK(sys(fsync(s->fd)));
		if (round == 2)
			read_all(s->view, SIZE);
	}
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK_EQ(must_read(s->view + at),
			 stamp(1, at / PAGE, 0));
	for (size_t at = 0; at < SIZE; at += 64 * PAGE)
		CHECK_EQ(in_file(s->fd, at + 8), 3);
}

TEST_LIMIT(reads_and_writes, 120)
{
	on_each(reads_and_writes_on);
}

static void ends_with_a_huge_page_on(struct shown *s)
{
	bool last = !strcmp(s->fs, "huge") || kernel_is_since(15);

	CHECK_OK(sys(ftruncate(s->fd, SIZE)));
	read_all(s->view, SIZE);
	for (size_t at = 0; at < SIZE; at += 64 * PAGE)
		must_write(s->view + at + 8, at);
	CHECK_EQ(huge_bytes(s->view, SIZE),
		 s->huge && !last ? s->huge - HUGE : s->huge);
	for (size_t at = 0; at < SIZE; at += 64 * PAGE)
		CHECK_EQ(in_file(s->fd, at + 8), at);
}

TEST_LIMIT(ends_with_a_huge_page, 120)
{
	on_each(ends_with_a_huge_page_on);
}

static void written_is_on_disk_on(struct shown *s)
{
	for (size_t at = 0; at < SIZE; at += 64 * PAGE)
		must_write(s->view + at + 8, 7);
	CHECK_OK(unmap_fd(s->ctl, 0, HUGE));
	CHECK_OK(map_fd(s->ctl, s->fd, 0, HUGE, 0, RD));
	must_not_write(s->view + 8);
	CHECK_OK(sys(fsync(s->fd)));
	CHECK_OK(unmap_fd(s->ctl, 0, SIZE));
	if (strcmp(s->fs, "huge"))
		drop_file(s->fd);
	for (size_t at = 0; at < SIZE; at += 64 * PAGE)
		CHECK_EQ(in_file(s->fd, at + 8), 7);
}

/* A write that nobody has told the file of is in the entry's dirty bit only. */
TEST_LIMIT(written_is_on_disk, 120)
{
	on_each(written_is_on_disk_on);
}

static void remapped_again_and_again_on(struct shown *s)
{
	for (unsigned int round = 0; round < 16; round++) {
		size_t at = round % 4 * HUGE;

		CHECK_OK(map_fd(s->ctl, s->fd, at, SIZE - at, 0,
				round % 2 ? RD : RD | WR));
		CHECK_OK(map_fd(s->ctl, s->fd, 0, at ? at : HUGE,
				SIZE - (at ? at : HUGE), RD | WR));
		read_all(s->view, SIZE);
		CHECK_EQ(must_read(s->view),
			 stamp(1, at / PAGE, 0));
		CHECK_EQ(huge_bytes(s->view, SIZE), s->huge);
		if (round % 2)
			must_not_write(s->view);
	}
}

TEST_LIMIT(remapped_again_and_again, 120)
{
	on_each(remapped_again_and_again_on);
}

static void partly_unmapped_on(struct shown *s)
{
	size_t hole = HUGE + 5 * PAGE;

	for (size_t at = 0; at < SIZE; at += HUGE)
		must_write(s->view + at + 8, 1);
	CHECK_OK(unmap_fd(s->ctl, hole, PAGE));
	must_sigbus(s->view + hole);
	for (size_t at = 0; at < SIZE; at += PAGE) {
		if (at == hole)
			continue;
		CHECK_EQ(must_read(s->view + at),
			 stamp(1, at / PAGE, 0));
		must_write(s->view + at + 16, at);
	}
	CHECK_EQ(huge_bytes(s->view, SIZE), s->huge ? SIZE - HUGE : 0);
	must_sigbus(s->view + hole);
	for (size_t at = 0; at < SIZE; at += PAGE)
		if (at != hole)
			CHECK_EQ(in_file(s->fd, at + 16), at);
}

/* What is left of a huge page is shown by small ones. */
TEST_LIMIT(partly_unmapped, 120)
{
	on_each(partly_unmapped_on);
}

static void sink_among_huge_pages_on(struct shown *s)
{
	size_t hole = HUGE + 5 * PAGE, end = 3 * HUGE + 7 * PAGE;

	for (size_t at = 0; at < SIZE; at += PAGE)
		must_write(s->view + at + 8, 1);
	CHECK_EQ(huge_bytes(s->view, SIZE), s->huge);

	/* One page of a huge one makes room, and is the file's again. */
	CHECK_OK(unmap_fd(s->ctl, hole, PAGE));
	CHECK_EQ(must_read(s->view + hole), 0);
	must_write(s->view + hole + 8, 2);
	for (size_t at = HUGE; at < 2 * HUGE; at += PAGE)
		CHECK_EQ(must_read(s->view + at + 8), at == hole ? 2 : 1);
	CHECK_EQ(huge_bytes(s->view, SIZE), s->huge ? SIZE - HUGE : 0);
	CHECK_OK(map_fd(s->ctl, s->fd, hole, PAGE, hole, RD | WR));
	CHECK_EQ(must_read(s->view + hole + 8), 1);

	/* So it is where the file has become shorter, and longer again. */
	CHECK_OK(sys(ftruncate(s->fd, (off_t)end)));
	for (size_t at = end; at < SIZE; at += PAGE)
		must_write(s->view + at + 8, 3);
	for (size_t at = 3 * HUGE; at < end; at += PAGE)
		CHECK_EQ(must_read(s->view + at + 8), 1);
	CHECK_OK(sys(ftruncate(s->fd, SIZE)));
	for (size_t at = end; at < SIZE; at += PAGE)
		CHECK_EQ(must_read(s->view + at + 8), 0);
	for (size_t at = 0; at < SIZE; at += PAGE) {
		must_write(s->view + at + 16, 4);
		CHECK_EQ(in_file(s->fd, at + 8), at < end);
		CHECK_EQ(in_file(s->fd, at + 16), 4);
	}

	/* A new mapper has no page tables, and huge pages where they are. */
	CHECK_OK(map_fd(s->ctl, s->fd, 0, SIZE, 0, RD | WR));
	CHECK_OK(sys(munmap(s->view, SIZE)));
	s->view = view_mmap(s->ctl, SIZE, PROT_READ | PROT_WRITE);
	read_all(s->view, 3 * HUGE);
	CHECK_EQ(huge_bytes(s->view, 3 * HUGE), s->huge ? 3 * HUGE : 0);
}

/* A sink page takes the place of a part of a huge page, and gives it back. */
TEST_LIMIT(sink_among_huge_pages, 120)
{
	on_each_with(MEMVIEW_FAULT_SINK, sink_among_huge_pages_on);
}

static void truncated_and_punched_on(struct shown *s)
{
	size_t end = 3 * HUGE + 7 * PAGE, hole = HUGE + 3 * PAGE;

	for (size_t at = 0; at < SIZE; at += PAGE)
		must_write(s->view + at + 8, 1);
	CHECK_OK(sys(ftruncate(s->fd, (off_t)end)));
	for (size_t at = end; at < SIZE; at += PAGE)
		must_sigbus(s->view + at);
	CHECK_OK(sys(fallocate(s->fd, FALLOC_FL_PUNCH_HOLE |
				     FALLOC_FL_KEEP_SIZE,
			       (off_t)hole, 4 * PAGE)));
	for (size_t at = 0; at < end; at += PAGE) {
		bool gone = at >= hole && at < hole + 4 * PAGE;

		CHECK_EQ(must_read(s->view + at + 8), !gone);
		CHECK_EQ(must_read(s->view + at),
			 gone ? 0 : stamp(1, at / PAGE, 0));
	}
	CHECK_OK(sys(ftruncate(s->fd, SIZE)));
	for (size_t at = end; at < SIZE; at += PAGE)
		CHECK_EQ(must_read(s->view + at), 0);
	must_write(s->view + end, 9);
	CHECK_EQ(in_file(s->fd, end), 9);
}

TEST_LIMIT(truncated_and_punched, 120)
{
	on_each(truncated_and_punched_on);
}

static void protected_on(struct shown *s)
{
	for (size_t at = 0; at < SIZE; at += PAGE)
		must_write(s->view + at + 8, 1);
	CHECK_OK(sys(mprotect(s->view, SIZE, PROT_READ)));
	must_not_write(s->view);
	CHECK_OK(sys(mprotect(s->view + HUGE, HUGE,
			      PROT_READ | PROT_WRITE)));
	must_not_write(s->view);
	must_write(s->view + HUGE + 8, 2);
	CHECK_OK(sys(mprotect(s->view, SIZE, PROT_READ | PROT_WRITE)));
	for (size_t at = 0; at < SIZE; at += PAGE)
		must_write(s->view + at + 8, 3);
	CHECK_EQ(huge_bytes(s->view, SIZE), s->huge);
	CHECK_OK(sys(fsync(s->fd)));
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK_EQ(in_file(s->fd, at + 8), 3);
}

TEST_LIMIT(protected, 120)
{
	on_each(protected_on);
}

static int advice;

/* A page that is lost, or has moved, takes its huge page apart. */
static void page_goes(struct shown *s)
{
	size_t bad = HUGE + 9 * PAGE;
	uint64_t value;
	pid_t pid;
	int status;

	for (size_t at = 0; at < SIZE; at += PAGE)
		must_write(s->view + at + 8, 5);
	CHECK_OK(sys(fsync(s->fd)));
	read_all(s->view, SIZE);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		char *direct = map_aligned(s->fd, SIZE);

		(void)*(volatile char *)(direct + bad);
		signal(SIGBUS, SIG_DFL);
		if (madvise(direct + bad, PAGE, advice) && errno != EBUSY)
			FAIL("madvise: %s", strerror(errno));
		_exit(0);
	}
	CHECK(wait_ended(pid, 10, &status));
	for (size_t at = 0; at < SIZE; at += PAGE) {
		int sig = try_read(s->view + at + 8, &value);

		/* A clean page can be read again from a disk. */
		if (sig && at == bad && advice == MADV_HWPOISON)
			continue;
		if (sig)
			FAIL("signal %d at 0x%zx", sig, at);
		CHECK_EQ(value, 5);
		must_write(s->view + at + 16, at);
	}
	for (size_t at = 0; at < SIZE; at += PAGE)
		if (at != bad)
			CHECK_EQ(in_file(s->fd, at + 16), at);
}

TEST_LIMIT(memory_fails, 120)
{
	advice = MADV_HWPOISON;
	on_each(page_goes);
}

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

TEST_LIMIT(page_moves, 120)
{
	advice = MADV_SOFT_OFFLINE;
	on_each(page_goes);
}

/* ---- At once ------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 6 };

static struct {
	char *view;
	bool write;
	size_t whole, all;
	pthread_barrier_t barrier;
} race;

static void *toucher(void *arg)
{
	size_t mine = (uintptr_t)arg * 32 * PAGE;

	for (size_t at = 0; at < SIZE; at += HUGE) {
		pthread_barrier_wait(&race.barrier);
		if (race.write)
			must_write(race.view + at + mine + 8, mine);
		else
			(void)must_read(race.view + at + mine);
	}
	return NULL;
}

static void touch_together(struct shown *s)
{
	pthread_t threads[THREADS];

	race.view = s->view;
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, toucher, (void *)i),
			 0);
	for (unsigned int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	race.whole += huge_bytes(s->view, SIZE);
	race.all += s->huge;
	for (size_t i = 0; race.write && i < THREADS; i++)
		CHECK_EQ(in_file(s->fd, i * 32 * PAGE + 8), i * 32 * PAGE);
}

/*
 * Threads that touch a huge page together for the first time neither split it
 * nor leave small pages in its place.
 */
TEST_LIMIT(touched_by_many_at_once, 120)
{
	CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, THREADS), 0);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		race.write = round % 2;
		on_each(touch_together);
	}
	note("%zu of %zu MiB by huge entries", race.whole / MIB,
	     race.all / MIB);
	/* Others may have had a folio locked for too long, once. */
	CHECK(race.whole >= race.all / 100 * 95);
}

enum { PASSES = 100, STRIDE = 32 };

static struct {
	struct shown s;
	uint64_t written[SIZE / PAGE];
	int stop;
} upheaval;

static void *changer(void *arg)
{
	const struct shown *s = &upheaval.s;
	uint64_t state = 1 + (uintptr_t)arg;

	while (!__atomic_load_n(&upheaval.stop, __ATOMIC_RELAXED)) {
		size_t at = rnd(&state) % (SIZE / PAGE) * PAGE;

		switch (arg ? 3 + rnd(&state) % 2 : rnd(&state) % 3) {
		case 0:
			CHECK_OK(unmap_fd(s->ctl, at, PAGE));
			break;
		case 1:
			at &= ~(HUGE - 1);
			CHECK_OK(map_fd(s->ctl, s->fd, at, HUGE, at, RD));
			break;
		case 2:
			CHECK_OK(map_fd(s->ctl, s->fd, 0, SIZE, 0, RD | WR));
			break;
		case 3:
			CHECK_OK(sys(fsync(s->fd)));
			break;
		case 4:
			/* Page tables stay; only a new VMA starts clean. */
			CHECK_OK(sys(madvise(s->view, SIZE, MADV_DONTNEED)));
			break;
		}
	}
	return NULL;
}

static void nothing_written_is_lost_on(struct shown *s)
{
	pthread_t threads[2];
	uint64_t refused = 0;

	memset(&upheaval, 0, sizeof(upheaval));
	upheaval.s = *s;
	for (uintptr_t i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, changer,
					(void *)i), 0);
	run_first();
	for (uint64_t pass = 1; pass <= PASSES; pass++)
		for (size_t i = pass % STRIDE; i < SIZE / PAGE;
		     i += STRIDE) {
			if (try_write(s->view + i * PAGE + 8, pass))
				refused++;
			else
				upheaval.written[i] = pass;
		}
	__atomic_store_n(&upheaval.stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_OK(sys(munmap(s->view, SIZE)));
	CHECK_OK(sys(fsync(s->fd)));
	if (strcmp(s->fs, "huge"))
		drop_file(s->fd);
	for (size_t i = 0; i < SIZE / PAGE; i++)
		if (upheaval.written[i])
			CHECK_EQ(in_file(s->fd, i * PAGE + 8),
				 upheaval.written[i]);
	note("%llu writes were refused",
	     (unsigned long long)refused);
	s->view = view_mmap(s->ctl, SIZE, PROT_READ);
}

/* Whatever happens at once: what could be written is in the file. */
TEST_LIMIT(nothing_written_is_lost, 240)
{
	on_each(nothing_written_is_lost_on);
}
