// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual machine whose memory slot is a view. The guest (a few bytes of
 * 64-bit code) reads and writes what the host asks for by port I/O; the view
 * changes under it and the memory slot is never touched again.
 */
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <pthread.h>

#include "memview_test.h"

enum {
	PAGES = 512,
	PORT = 0x10,
	/* Guest physical addresses. */
	PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x4000,
	LOW_SIZE = 0x10000,
};

#define WINDOW	0x40000000UL	/* where the view lies, below 2 GiB */
#define SIZE	(PAGES * PAGE)

/*
 * again:	out PORT, eax		; the host sets rdi, rsi, rdx
 *		test rdx, rdx
 *		jnz store
 *		mov rax, [rdi]
 *		jmp again
 * store:	mov [rdi], rsi
 *		mov rax, rsi
 *		jmp again
 */
static const unsigned char guest_code[] = {
	0xe7, PORT,
	0x48, 0x85, 0xd2,
	0x75, 0x05,
	0x48, 0x8b, 0x07,
	0xeb, 0xf4,
	0x48, 0x89, 0x37,
	0x48, 0x89, 0xf0,
	0xeb, 0xec,
};

struct machine {
	int vm, vcpu;
	struct kvm_run *run;
	size_t run_size;
	char *low;
	unsigned int slots_set;
};

static void set_slot(struct machine *m, unsigned int slot, uint64_t gpa,
		     uint64_t size, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region))
		FAIL("KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
	m->slots_set++;
}

static void set_registers(struct machine *m)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
		.s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
		.s = 1, .db = 1, .g = 1,
	};
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	CHECK_OK(sys(ioctl(m->vcpu, KVM_GET_SREGS, &sregs)));
	sregs.cr3 = PML4;
	sregs.cr4 = 1 << 5;				/* PAE */
	sregs.cr0 = 1U << 31 | 1 << 16 | 1 << 4 | 1;	/* PG WP ET PE */
	sregs.efer = 1 << 8 | 1 << 10;			/* LME LMA */
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	CHECK_OK(sys(ioctl(m->vcpu, KVM_SET_SREGS, &sregs)));
	CHECK_OK(sys(ioctl(m->vcpu, KVM_SET_REGS, &regs)));
}

/* Runs until the guest asks for the next order: 0, or a negative errno. */
static long run_guest(struct machine *m)
{
	for (;;) {
		if (ioctl(m->vcpu, KVM_RUN, 0)) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (m->run->exit_reason == KVM_EXIT_IO &&
		    m->run->io.port == PORT)
			return 0;
		FAIL("guest left with exit reason %u", m->run->exit_reason);
	}
}

static struct machine *machine_new(void *window, uint64_t size)
{
	static struct machine machine;
	struct machine *m = &machine;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	uint64_t *table;

	if (kvm < 0)
		FAIL("/dev/kvm: %s", strerror(errno));
	m->slots_set = 0;
	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(m->vm >= 0);
	m->low = mmap(NULL, LOW_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(m->low != MAP_FAILED);
	table = (uint64_t *)(m->low + PML4);
	table[0] = PDPT | 3;
	table = (uint64_t *)(m->low + PDPT);
	table[0] = PD | 3;
	table[1] = WINDOW | 0x83;	/* one page of 1 GiB */
	table = (uint64_t *)(m->low + PD);
	table[0] = 0x83;		/* one page of 2 MiB */
	memcpy(m->low + CODE, guest_code, sizeof(guest_code));
	set_slot(m, 0, 0, LOW_SIZE, m->low);
	set_slot(m, 1, WINDOW, size, window);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	CHECK(m->vcpu >= 0);
	m->run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->vcpu, 0);
	CHECK(m->run != MAP_FAILED);
	{
		/* The CPU must know pages of 1 GiB. */
		struct {
			struct kvm_cpuid2 head;
			struct kvm_cpuid_entry2 entries[128];
		} cpuid = { .head.nent = 128 };

		CHECK_OK(sys(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid)));
		CHECK_OK(sys(ioctl(m->vcpu, KVM_SET_CPUID2, &cpuid)));
	}
	set_registers(m);
	close(kvm);
	CHECK_OK(run_guest(m));
	return m;
}

static long guest_access(struct machine *m, uint64_t offset, uint64_t *value,
			 bool store)
{
	struct kvm_regs regs;
	long ret;

	CHECK_OK(sys(ioctl(m->vcpu, KVM_GET_REGS, &regs)));
	regs.rdi = WINDOW + offset;
	regs.rsi = *value;
	regs.rdx = store;
	regs.rip = CODE + 2;
	CHECK_OK(sys(ioctl(m->vcpu, KVM_SET_REGS, &regs)));
	/* The pending port access must not move rip after it was set. */
	ret = run_guest(m);
	if (ret)
		return ret;
	CHECK_OK(sys(ioctl(m->vcpu, KVM_GET_REGS, &regs)));
	*value = regs.rax;
	return 0;
}

static uint64_t guest_read(struct machine *m, uint64_t offset)
{
	uint64_t value = 0;
	long ret = guest_access(m, offset, &value, false);

	if (ret)
		FAIL("guest read at 0x%llx: KVM_RUN gave %s",
		     (unsigned long long)offset, strerror((int)-ret));
	return value;
}

static void guest_write(struct machine *m, uint64_t offset, uint64_t value)
{
	long ret = guest_access(m, offset, &value, true);

	if (ret)
		FAIL("guest write at 0x%llx: KVM_RUN gave %s",
		     (unsigned long long)offset, strerror((int)-ret));
}

/* The access fails cleanly; the vCPU may go on with another order. */
static void guest_faults(struct machine *m, uint64_t offset, bool store)
{
	uint64_t value = 0x4242;
	long ret;

	ret = guest_access(m, offset, &value, store);
	if (ret != -EFAULT)
		FAIL("guest %s at 0x%llx gave %ld, value 0x%llx, not EFAULT",
		     store ? "write" : "read", (unsigned long long)offset,
		     ret, (unsigned long long)value);
}

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
