// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual machine whose memory slot is a view, which changes under it. The
 * memory slot is never touched again.
 */
#include <linux/falloc.h>
#include <pthread.h>

#include "machine.h"

enum { PAGES = 512 };
#define SIZE	(PAGES * PAGE)

static int ctl;
static void *view;

static struct machine *new_view_machine(void)
{
	ctl = ctl_new(SIZE);
	view = view_mmap(ctl, SIZE, PROT_READ | PROT_WRITE);
	return machine_new(view, SIZE);
}

TEST_EACH_FS_LIMIT(guest_sees_remaps, 40)
{
	struct machine *m = new_view_machine();
	int a = backing_new(1, PAGES), b = backing_new(2, PAGES);
	uint64_t seed = 777;

	guest_faults(m, 0, false);
	CHECK_OK(map_fd(ctl, a, 0, SIZE, 0, RD | WR));
	for (unsigned int i = 0; i < PAGES; i += 5)
		CHECK_EQ(guest_read(m, i * PAGE), stamp(1, i, 0));
	for (unsigned int round = 0; round < 150; round++) {
		unsigned int at = rnd(&seed) % PAGES;
		unsigned int from = rnd(&seed) % PAGES;
		bool first = rnd(&seed) & 1;

		CHECK_OK(map_fd(ctl, first ? a : b, from * PAGE, PAGE,
				at * PAGE, round & 1 ? RD : RD | WR));
		CHECK_EQ(guest_read(m, at * PAGE),
			 stamp(first ? 1 : 2, from, 0));
		if (round & 1)
			guest_faults(m, at * PAGE + 8, true);
		else
			guest_write(m, at * PAGE + 8, round);
		if (round % 7 == 0) {
			CHECK_OK(unmap_fd(ctl, at * PAGE, PAGE));
			guest_faults(m, at * PAGE, false);
			guest_faults(m, at * PAGE, true);
			CHECK_OK(map_fd(ctl, b, 0, PAGE, at * PAGE, RD));
			CHECK_EQ(guest_read(m, at * PAGE), stamp(2, 0, 0));
		}
	}
	CHECK_EQ(m->slots_set, 2);
	CHECK_EQ(vma_count(view, SIZE), 1);
}

TEST_EACH_FS(guest_sees_file_changes)
{
	struct machine *m = new_view_machine();
	int fd = backing_new(1, PAGES);
	uint64_t word;

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	for (unsigned int i = 0; i < 32; i++)
		CHECK_EQ(guest_read(m, i * PAGE), stamp(1, i, 0));
	for (unsigned int i = 0; i < 32; i++) {
		word = stamp(5, i, 5);
		CHECK_EQ(pwrite(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(guest_read(m, i * PAGE), word);
		guest_write(m, i * PAGE + 8, i);
		CHECK_EQ(pread(fd, &word, 8, i * PAGE + 8), 8);
		CHECK_EQ(word, i);
	}
	CHECK_OK(sys(ftruncate(fd, 16 * PAGE)));
	guest_faults(m, 16 * PAGE, false);
	guest_faults(m, 31 * PAGE, true);
	CHECK_EQ(guest_read(m, 15 * PAGE), stamp(5, 15, 5));
	CHECK_OK(sys(ftruncate(fd, SIZE)));
	CHECK_EQ(guest_read(m, 16 * PAGE), 0);
	guest_write(m, 16 * PAGE, 9);
	CHECK_OK(sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       0, SIZE)));
	CHECK_EQ(guest_read(m, 3 * PAGE), 0);
	CHECK_EQ(guest_read(m, 16 * PAGE), 0);
}

/* Guest writes, host fsyncs, guest writes again, host fsyncs: on the disk. */
TEST_EACH_FS_LIMIT(guest_writes_reach_the_disk, 40)
{
	struct machine *m = new_view_machine();
	int fd = backing_new(1, 32);
	char path[256];
	uint64_t word;

	snprintf(path, sizeof(path), "%s", backing_path());
	CHECK_OK(map_fd(ctl, fd, 0, 32 * PAGE, 0, RD | WR));
	for (unsigned int round = 1; round <= 4; round++) {
		for (unsigned int i = 0; i < 32; i++)
			guest_write(m, i * PAGE, stamp(6, i, round));
		CHECK_OK(sys(fsync(fd)));
		for (unsigned int i = 0; i < 32; i += 2)
			guest_write(m, i * PAGE, stamp(7, i, round));
		CHECK_OK(sys(fsync(fd)));
		if (*path) {
			static char buf[PAGE] __attribute__((aligned(4096)));
			int disk = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

			CHECK(disk >= 0);
			for (unsigned int i = 0; i < 32; i++) {
				CHECK_EQ(pread(disk, buf, PAGE, i * PAGE),
					 PAGE);
				memcpy(&word, buf, 8);
				CHECK_EQ(word, stamp(i & 1 ? 6 : 7, i, round));
			}
			close(disk);
		}
	}
	CHECK_OK(unmap_fd(ctl, 0, SIZE));
	guest_faults(m, 0, false);
	drop_caches();
	for (unsigned int i = 0; i < 32; i++) {
		CHECK_EQ(pread(fd, &word, 8, i * PAGE), 8);
		CHECK_EQ(word, stamp(i & 1 ? 6 : 7, i, 4));
	}
}

/* Reclaim finds the pages that a guest maps. */
TEST_EACH_FS_LIMIT(guest_pages_are_reclaimed, 60)
{
	struct machine *m;
	enum { USED = 128 };
	unsigned char resident[USED];
	unsigned int count = USED;
	void *direct;
	int fd;

	cgroup_enter();
	m = new_view_machine();
	fd = backing_new(1, USED);
	CHECK_OK(map_fd(ctl, fd, 0, USED * PAGE, 0, RD | WR));
	for (unsigned int i = 0; i < USED; i++)
		guest_write(m, i * PAGE + 8, i + 1);
	CHECK_OK(sys(fsync(fd)));
	for (unsigned int pass = 0; pass < 40 && count > USED / 2; pass++) {
		(void)cgroup_reclaim(SIZE);
		direct = mmap(NULL, USED * PAGE, PROT_READ, MAP_SHARED, fd, 0);
		CHECK_OK(sys(mincore(direct, USED * PAGE, resident)));
		CHECK_OK(sys(munmap(direct, USED * PAGE)));
		count = 0;
		for (unsigned int i = 0; i < USED; i++)
			count += resident[i] & 1;
	}
	note("%u of %u pages left", count, USED);
	CHECK(count <= USED / 2);
	for (unsigned int i = 0; i < USED; i++) {
		CHECK_EQ(guest_read(m, i * PAGE), stamp(1, i, 0));
		CHECK_EQ(guest_read(m, i * PAGE + 8), i + 1);
	}
}

static int stop;
static uint64_t replacements;

static void *replacer(void *arg)
{
	int *files = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t round = __atomic_add_fetch(&replacements, 1,
						    __ATOMIC_RELAXED);

		CHECK_OK(map_fd(ctl, files[round & 1], 0, SIZE, 0, RD | WR));
	}
	return NULL;
}

/* A guest that reads while its ranges are replaced never leaves KVM_RUN. */
TEST_LIMIT(guest_against_replacement, 40)
{
	struct machine *m = new_view_machine();
	int files[2] = { backing_new(0, PAGES), backing_new(1, PAGES) };
	uint64_t end = now_ms() + 2500, seed = 5, reads = 0, value;
	pthread_t thread;

	CHECK_OK(map_fd(ctl, files[0], 0, SIZE, 0, RD | WR));
	CHECK(!pthread_create(&thread, NULL, replacer, files));
	while (now_ms() < end || reads < 100 ||
	       __atomic_load_n(&replacements, __ATOMIC_RELAXED) < 100) {
		unsigned int page = rnd(&seed) % PAGES;

		value = guest_read(m, page * PAGE);
		if (value != stamp(0, page, 0) && value != stamp(1, page, 0))
			FAIL("page %u: 0x%llx", page,
			     (unsigned long long)value);
		reads++;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	note("%llu guest reads beside %llu replacements",
	     (unsigned long long)reads, (unsigned long long)replacements);
}

/* The VM outlives the control fd; its memory is gone, the host is not. */
TEST(control_fd_goes_before_the_vm)
{
	struct machine *m = new_view_machine();
	int fd = backing_new(1, PAGES);

	CHECK_OK(map_fd(ctl, fd, 0, SIZE, 0, RD | WR));
	CHECK_EQ(guest_read(m, PAGE), stamp(1, 1, 0));
	close(ctl);
	guest_faults(m, PAGE, false);
	CHECK_OK(sys(munmap(view, SIZE)));
	guest_faults(m, PAGE, false);
	close(m->vcpu);
	close(m->vm);
}

/* A number that KVM keeps about the machine, from debugfs. */
static unsigned long kvm_statistic(const struct machine *m, const char *name)
{
	unsigned long value;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s",
		 getpid(), m->vm, name);
	f = fopen(path, "r");
	if (!f)
		FAIL("%s: %s", path, strerror(errno));
	CHECK_EQ(fscanf(f, "%lu", &value), 1);
	fclose(f);
	return value;
}

/* What is huge in memory is huge in the guest's page tables. */
TEST(huge_pages_reach_the_guest)
{
	const uint64_t size = 4 * SIZE;
	int ctl = ctl_new(size);
	int fd = backing_new_on("huge", 1, 4 * PAGES);
	void *view;
	struct machine *m;

	CHECK_OK(map_fd(ctl, fd, 0, size, 0, RD | WR));
	view = view_mmap(ctl, size, PROT_READ | PROT_WRITE);
	m = machine_new(view, size);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 4 * PAGES; i += 64) {
			CHECK_EQ(guest_read(m, i * PAGE), stamp(1, i, 0));
			if (round)
				guest_write(m, i * PAGE + 8, i);
		}
		CHECK_EQ(kvm_statistic(m, "pages_2m"), 4);
		/* For writes, too, where the first access is one. */
		CHECK_OK(map_fd(ctl, fd, 0, size, 0, RD | WR));
		for (unsigned int i = 0; i < 4 * PAGES; i += 64)
			guest_write(m, i * PAGE + 16, i);
		CHECK_EQ(kvm_statistic(m, "pages_2m"), 4);
		/* Other ranges are put there, as whole huge pages again. */
		CHECK_OK(map_fd(ctl, fd, 0, size, 0, RD));
		CHECK_EQ(kvm_statistic(m, "pages_2m"), 0);
		CHECK_EQ(guest_read(m, 0), stamp(1, 0, 0));
		guest_faults(m, 8, true);
		CHECK_OK(map_fd(ctl, fd, 0, size, 0, RD | WR));
	}
	/* Half of one is taken away. */
	(void)guest_read(m, 0);
	CHECK_OK(unmap_fd(ctl, SIZE / 2, SIZE / 2));
	guest_faults(m, SIZE / 2, false);
	CHECK_EQ(guest_read(m, SIZE / 2 - PAGE), stamp(1, PAGES / 2 - 1, 0));
}
