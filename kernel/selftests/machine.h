/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtual machine with a window. The guest (a few bytes of 64-bit code) reads
 * and writes there what the host asks for by port I/O.
 */
#ifndef MEMVIEW_MACHINE_H
#define MEMVIEW_MACHINE_H

#include <linux/kvm.h>

#include "memview_test.h"

enum {
	PORT = 0x10,
	/* Guest physical addresses. */
	PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x4000,
	LOW_SIZE = 0x10000,
};

#define WINDOW	0x40000000UL	/* where the view lies, below 2 GiB */

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

static inline void set_slot(struct machine *m, unsigned int slot, uint64_t gpa,
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

static inline void set_registers(struct machine *m)
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
static inline long run_guest(struct machine *m)
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

static inline struct machine *machine_new(void *window, uint64_t size)
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

static inline long guest_access(struct machine *m, uint64_t offset, uint64_t *value,
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

static inline uint64_t guest_read(struct machine *m, uint64_t offset)
{
	uint64_t value = 0;
	long ret = guest_access(m, offset, &value, false);

	if (ret)
		FAIL("guest read at 0x%llx: KVM_RUN gave %s",
		     (unsigned long long)offset, strerror((int)-ret));
	return value;
}

static inline void guest_write(struct machine *m, uint64_t offset, uint64_t value)
{
	long ret = guest_access(m, offset, &value, true);

	if (ret)
		FAIL("guest write at 0x%llx: KVM_RUN gave %s",
		     (unsigned long long)offset, strerror((int)-ret));
}

/* The access fails cleanly; the vCPU may go on with another order. */
static inline void guest_faults(struct machine *m, uint64_t offset, bool store)
{
	uint64_t value = 0x4242;
	long ret;

	ret = guest_access(m, offset, &value, store);
	if (ret != -EFAULT)
		FAIL("guest %s at 0x%llx gave %ld, value 0x%llx, not EFAULT",
		     store ? "write" : "read", (unsigned long long)offset,
		     ret, (unsigned long long)value);
}

#endif /* MEMVIEW_MACHINE_H */
