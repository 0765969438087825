/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between the supported kernels, and the only file that
 * looks at LINUX_VERSION_CODE. Where a newer kernel has a name for something,
 * older ones get that name here, so that the driver reads like the newest.
 */
#ifndef _MEMORY_VIEW_COMPAT_H
#define _MEMORY_VIEW_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
/* ->setattr was given a user namespace. */
#define mnt_idmap user_namespace

/* VMA flags were written directly, and only under the mmap lock. */
static inline void vm_flags_init(struct vm_area_struct *vma,
				 unsigned long flags)
{
	vma->vm_flags = flags;
}

static inline void vm_flags_set(struct vm_area_struct *vma,
				unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_mod(struct vm_area_struct *vma,
				unsigned long set, unsigned long clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
/* No per-VMA locks: every fault holds the mmap lock. */
#define FAULT_FLAG_VMA_LOCK	0

static inline void vma_start_write(struct vm_area_struct *vma)
{
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
static inline void release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
/* ->get_policy could not tell an interleave index. */
#define MEMVIEW_POLICY_ARGS	struct vm_area_struct *vma, unsigned long addr

static inline void simple_inode_init_ts(struct inode *inode)
{
	inode->i_atime = current_time(inode);
	inode->i_mtime = inode->i_atime;
	inode->i_ctime = inode->i_atime;
}
#else
#define MEMVIEW_POLICY_ARGS \
	struct vm_area_struct *vma, unsigned long addr, pgoff_t *ilx
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
/* Goes on to further VMAs, but only within the range. */
static inline void zap_vma_range(struct vm_area_struct *vma,
				 unsigned long address, unsigned long size)
{
	zap_page_range(vma, address, size);
}
#elif LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
/* Same work, older name. */
static inline void zap_vma_range(struct vm_area_struct *vma,
				 unsigned long address, unsigned long size)
{
	zap_page_range_single(vma, address, size, NULL);
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
/*
 * vm_insert_page() leaves a present entry alone, so a read-only one is
 * cleared first where a writable one is wanted. The caller's locks keep
 * everybody from putting another page there meanwhile.
 */
static inline vm_fault_t vmf_insert_page_mkwrite(struct vm_fault *vmf,
						 struct page *page, bool write)
{
	int err = vm_insert_page(vmf->vma, vmf->address, page);

	if (err == -EBUSY && write) {
		zap_vma_range(vmf->vma, vmf->address, PAGE_SIZE);
		err = vm_insert_page(vmf->vma, vmf->address, page);
	}
	if (err == -ENOMEM)
		return VM_FAULT_OOM;
	if (err < 0 && err != -EBUSY)
		return VM_FAULT_SIGBUS;
	return VM_FAULT_NOPAGE;
}
#endif

/**
 * memview_rwsem_writer() - who holds a lock for write
 * @sem: the lock
 *
 * Return: the task, valid for as long as RCU is read locked; NULL if nobody
 * does.
 */
static inline struct task_struct *
memview_rwsem_writer(struct rw_semaphore *sem)
{
#ifdef CONFIG_PREEMPT_RT
	/* Readers own the mutex, too, for a moment, and then have no bias. */
	unsigned long owner = (unsigned long)
		READ_ONCE(sem->rwbase.rtmutex.owner);

	smp_rmb(); /* who unlocks drops the bias first */
	if (atomic_read(&sem->rwbase.readers) != WRITER_BIAS)
		return NULL;
	/* Bit 0: somebody waits. */
	return (struct task_struct *)(owner & ~1UL);
#else
	unsigned long owner = atomic_long_read(&sem->owner);

	/* Readers leave their mark, too, and have bit 0 set. */
	return owner & 1 ? NULL : (struct task_struct *)(owner & ~7UL);
#endif
}

#endif /* _MEMORY_VIEW_COMPAT_H */
