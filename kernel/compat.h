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

/* ->huge_fault was told sizes by name. */
#define memview_huge_order	enum page_entry_size
#define MEMVIEW_HUGE_PMD	PE_SIZE_PMD

#define pte_mkwrite_novma	pte_mkwrite
#define pmd_mkwrite_novma	pmd_mkwrite
#else
#define memview_huge_order	unsigned int
#define MEMVIEW_HUGE_PMD	HPAGE_PMD_ORDER
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

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 15, 0)
/*
 * Huge entries for files were made by the core alone: by fault-around, for
 * folios that it can lock, and that are not the last of their file.
 */
#define MEMVIEW_INSERTS_HUGE	false

static inline vm_fault_t vmf_insert_folio_pmd(struct vm_fault *vmf,
					      struct folio *folio, bool write)
{
	return VM_FAULT_FALLBACK;
}
#else
#define MEMVIEW_INSERTS_HUGE	true
#endif

/* Do page tables have locks of their own? */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define MEMVIEW_SPLIT_PTE_PTLOCKS	USE_SPLIT_PTE_PTLOCKS
#else
#define MEMVIEW_SPLIT_PTE_PTLOCKS	IS_ENABLED(CONFIG_SPLIT_PTE_PTLOCKS)
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
