// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anchors: how a file finds a view's mappings of its pages. See "Theory of
 * operation" in memview.h.
 *
 * Anchors are made for aligned chunks of a file and kept for a moment after
 * their last segment is gone, so that most maps and unmaps do not touch VMAs.
 */
#include <linux/backing-dev.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/hash.h>
#include <linux/kthread.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "announcement.h"
#include "compat.h"
#include "memview.h"

#define MEMVIEW_CHUNK_PAGES	(SZ_1G >> PAGE_SHIFT)

/* After how many pages that were cleaned in order all of a segment is. */
#define MEMVIEW_CLEANED_RUN	8

static unsigned int anchor_idle_ms = 250;
module_param(anchor_idle_ms, uint, 0644);
MODULE_PARM_DESC(anchor_idle_ms,
		 "How long a file that is open for reading stays so after its last range was unmapped");

/* For what must run in an mm other than the caller's. */
static struct workqueue_struct *memview_wq;

/* For what may wait for a file system as long as it likes. */
static struct workqueue_struct *memview_release_wq;

/**
 * memview_anchors_init() - set up at module load
 *
 * Return: 0 or ENOMEM.
 */
int memview_anchors_init(void)
{
	memview_wq = alloc_workqueue("memory_view", WQ_UNBOUND, 0);
	if (!memview_wq)
		return -ENOMEM;
	memview_release_wq = alloc_workqueue("memory_view_release", WQ_UNBOUND,
					     0);
	if (!memview_release_wq) {
		destroy_workqueue(memview_wq);
		return -ENOMEM;
	}
	return 0;
}

/**
 * memview_anchors_exit() - clean up at module unload
 */
void memview_anchors_exit(void)
{
	destroy_workqueue(memview_wq);
	destroy_workqueue(memview_release_wq);
}

/*
 * File systems whose ->fault and ->page_mkwrite are known to look at nothing
 * of a VMA but what memview_inner() (entry.c) gives them, and whose pages
 * are page cache pages that are found through i_mmap. Hugetlbfs, devices,
 * secretmem, guest_memfd, anonymous inodes and views are not among them.
 */
static bool memview_fs_allowed(const struct file *file)
{
	const struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode) || IS_DAX(inode) ||
	    IS_DAX(file->f_mapping->host))
		return false;
	switch (inode->i_sb->s_magic) {
	case BTRFS_SUPER_MAGIC:
	case EXT4_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case XFS_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

/**
 * memview_file_check() - may this file be mapped into a view like that?
 * @file: what MAP_FD was given
 * @perm: MEMVIEW_MAP_* bits
 *
 * What mmap would check, as far as it may differ between two descriptors for
 * one file or change with time. The rest (security modules among it) is checked
 * by mmap itself when the anchor is made; anchors are shared only by equals,
 * see memview_anchor_find().
 *
 * Return: 0, EOPNOTSUPP (kind of file), EACCES (descriptor's mode, append
 * only), EPERM (seals, noexec) or ETXTBSY (swap file).
 */
int memview_file_check(const struct file *file, unsigned int perm)
{
	struct inode *inode = file_inode(file);
	struct address_space *mapping = file->f_mapping;

	if (!memview_fs_allowed(file))
		return -EOPNOTSUPP;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (perm & MEMVIEW_MAP_WRITE) {
		if (!(file->f_mode & FMODE_WRITE) || IS_APPEND(inode))
			return -EACCES;
		if (IS_SWAPFILE(mapping->host))
			return -ETXTBSY;
		if (shmem_mapping(mapping) &&
		    SHMEM_I(mapping->host)->seals &
		    (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
			return -EPERM;
	}
	if ((perm & MEMVIEW_MAP_EXEC) &&
	    ((file->f_path.mnt->mnt_flags & MNT_NOEXEC) ||
	     (inode->i_sb->s_iflags & SB_I_NOEXEC)))
		return -EPERM;
	return 0;
}

static unsigned long memview_chunk(unsigned long pgoff)
{
	return round_down(pgoff, MEMVIEW_CHUNK_PAGES);
}

static unsigned long memview_anchor_key(const struct file *file,
					unsigned long pgoff)
{
	return (unsigned long)file->f_mapping + memview_chunk(pgoff);
}

/**
 * memview_anchor_find() - an anchor that will do
 * @view:  the view
 * @file:  file to map, checked by memview_file_check()
 * @pgoff: first file page
 * @pages: length in pages
 * @perm:  MEMVIEW_MAP_* bits
 *
 * Descriptors share an anchor if they are for the same inode, came by the same
 * mount and have the same access mode. Not so for executable ranges, where the
 * answer of a security module may hang on more, and for overlayfs, where two
 * descriptors for one inode may stand for different files below.
 *
 * Context: &memview.lock is held.
 * Return: the anchor, or NULL.
 */
struct memview_anchor *memview_anchor_find(struct memview *view,
					   struct file *file,
					   unsigned long pgoff,
					   unsigned long pages,
					   unsigned int perm)
{
	const fmode_t mode = FMODE_READ | FMODE_WRITE;
	bool exact = (perm & MEMVIEW_MAP_EXEC) ||
		     file_inode(file)->i_sb->s_magic == OVERLAYFS_SUPER_MAGIC;
	struct memview_anchor *anchor;

	hash_for_each_possible(view->anchors, anchor, node,
			       memview_anchor_key(file, pgoff)) {
		if (anchor->file != file &&
		    (exact || anchor->file->f_mapping != file->f_mapping ||
		     anchor->file->f_path.mnt != file->f_path.mnt ||
		     (anchor->file->f_mode & mode) != (file->f_mode & mode)))
			continue;
		if (anchor->perm == perm && anchor->pgoff <= pgoff &&
		    pgoff + pages <= anchor->pgoff + anchor->pages)
			return anchor;
	}
	return NULL;
}

/**
 * memview_anchor_publish() - let others find a new anchor
 * @anchor: from memview_anchor_create()
 *
 * Context: &memview.lock is held for write.
 */
void memview_anchor_publish(struct memview_anchor *anchor)
{
	hash_add(anchor->view->anchors, &anchor->node,
		 memview_anchor_key(anchor->file, anchor->pgoff));
}

/*
 * The first or next segment that shows some of file pages @first to @last and
 * may have entries. Not seeing a @touched that is being set means that it is
 * for some other page: see memview_touch() in entry.c.
 */
static struct memview_segment *
memview_anchor_touched(struct memview_anchor *anchor,
		       struct memview_segment *previous, unsigned long first,
		       unsigned long last, bool writable_only)
{
	struct interval_tree_node *node;

	node = previous ?
		interval_tree_iter_next(&previous->file, first, last) :
		interval_tree_iter_first(&anchor->group.files, first, last);
	for (; node; node = interval_tree_iter_next(node, first, last)) {
		struct memview_segment *segment =
			container_of(node, struct memview_segment, file);

		if (READ_ONCE(segment->touched) &&
		    (!writable_only || (segment->perm & MEMVIEW_MAP_WRITE)))
			return segment;
	}
	return NULL;
}

/* Clears entries of the segments that show file pages @first to @last. */
static void memview_anchor_zap(struct memview_anchor *anchor,
			       unsigned long first, unsigned long last,
			       bool writable_only)
{
	struct memview_segment *segment = NULL;

	while ((segment = memview_anchor_touched(anchor, segment, first, last,
						 writable_only))) {
		unsigned long start = segment->file.start;
		unsigned long low = max(first, start) - start;
		unsigned long high = min(last, segment->file.last) - start;

		if (!READ_ONCE(segment->swept))
			memview_zap(anchor->view, segment->first + low,
				    segment->first + high);
	}
}

/*
 * Are pages being cleaned one after the other, so that clearing entries of
 * each would cost more than new faults on what is left? If two threads do it
 * at once they confuse each other, and no more.
 */
static bool memview_anchor_cleaned(struct memview_anchor *anchor,
				   unsigned long first, unsigned long last)
{
	bool next = READ_ONCE(anchor->cleaned) == first;
	unsigned int run = next ? READ_ONCE(anchor->cleaned_run) + 1 : 0;
	bool sweep = run == MEMVIEW_CLEANED_RUN;

	WRITE_ONCE(anchor->cleaned, last + 1);
	WRITE_ONCE(anchor->cleaned_run, sweep ? 0 : run);
	return sweep;
}

/*
 * Clears all entries of the segments that show file page @index, if they are no
 * larger than a page table. Nobody puts new ones there meanwhile, since
 * &memview.lock is held for write.
 */
static void memview_anchor_sweep(struct memview_anchor *anchor,
				 unsigned long index)
{
	struct memview_segment *segment = NULL;

	while ((segment = memview_anchor_touched(anchor, segment, index, index,
						 true))) {
		if (segment->swept ||
		    segment->last - segment->first >= PTRS_PER_PTE)
			continue;
		memview_zap(anchor->view, segment->first, segment->last);
		segment->swept = true;
	}
}

/*
 * Remembers where the view shows file page @index, whose data was lost. Without
 * a memory to remember it in, the place is forgotten, which is what happens to
 * every other mapping of the file.
 */
static void memview_anchor_poison(struct memview_anchor *anchor,
				  unsigned long index)
{
	struct memview_segment *segment = NULL;

	while ((segment = memview_anchor_touched(anchor, segment, index, index,
						 false)))
		xa_store(&anchor->view->poisoned,
			 segment->first + (index - segment->file.start),
			 xa_mk_value(1), GFP_ATOMIC);
}

/*
 * Memory failure unmaps a page and then drops it from its file, so that the
 * next access would read old data from the disk where new data was lost. Who
 * has the page mapped must learn of it instead. What is clean is on the disk:
 * nothing is lost, and nobody shall hear of it. (A file without a disk keeps the
 * poisoned page itself.)
 *
 * Entries were cleared before, so their dirty bits are the folios' by now.
 */
static void memview_anchor_check_poison(struct memview_anchor *anchor,
					unsigned long first, unsigned long last)
{
	XA_STATE(xas, &anchor->mapping->i_pages, first);
	struct folio *folio;

	if (!mapping_can_writeback(anchor->mapping))
		return;
	rcu_read_lock();
	xas_for_each(&xas, folio, last) {
		unsigned long index, end;

		if (xas_retry(&xas, folio) || xa_is_value(folio) ||
		    !folio_test_dirty(folio))
			continue;
		/* The folio may change under us, but not if it is poisoned. */
		index = READ_ONCE(folio->index);
		end = index + folio_nr_pages(folio);
		for (index = max(index, first); index < end && index <= last;
		     index++)
			if (PageHWPoison(folio_file_page(folio, index)))
				memview_anchor_poison(anchor, index);
	}
	rcu_read_unlock();
}

/* The file would lose sight of us: nothing may stay mapped. */
static void memview_anchor_die(struct memview_anchor *anchor)
{
	struct memview *view = anchor->view;

	/* No lock of the file is held. */
	memview_zap_begin_nested(view, NULL);
	down_write(&view->lock);
	anchor->dead = true;
	view->changes++;
	if (!hlist_unhashed(&anchor->node))
		hash_del(&anchor->node);
	memview_anchor_zap(anchor, 0, ULONG_MAX, false);
	up_write(&view->lock);
	memview_zap_end(view);
}

/* Something is about to change mappings of file pages @first to @last. */
static void memview_anchor_change(struct memview_anchor *anchor,
				  enum mmu_notifier_event event,
				  unsigned long first, unsigned long last)
{
	bool writable_only = event == MMU_NOTIFY_PROTECTION_PAGE;
	struct memview *view = anchor->view;
	struct address_space *mapping;
	bool end, any;

	/* Published by memview_anchor_adopt(), before there are segments. */
	mapping = smp_load_acquire(&anchor->mapping);
	if (!mapping)
		return;
	down_read(&view->lock);
	any = memview_anchor_touched(anchor, NULL, first, last, false);
	up_read(&view->lock);
	if (!any)
		return;

	/*
	 * The file's i_mmap lock is held: all others that could invalidate an
	 * anchor stop at its VM_PFNMAP.
	 */
	end = memview_zap_begin_nested(view, mapping);
	if (writable_only && memview_anchor_cleaned(anchor, first, last)) {
		down_write(&view->lock);
		memview_anchor_sweep(anchor, first);
		downgrade_write(&view->lock);
	} else {
		down_read(&view->lock);
	}
	memview_anchor_zap(anchor, first, last, writable_only);
	if ((event == MMU_NOTIFY_CLEAR || writable_only) &&
	    last - first < PMD_SIZE >> PAGE_SHIFT)
		memview_anchor_check_poison(anchor, first, last);
	up_read(&view->lock);
	if (end)
		memview_zap_end(view);
}

MEMVIEW_ANNOUNCEMENT(memview_anchor_announcement);

/**
 * memview_anchor_invalidate() - the core is about to change mappings of a file
 * @notifier: of the anchor
 * @range:    what, and why
 * @seq:      unused: faults rely on folio locks
 *
 * Return: false if this would have to sleep and must not.
 */
static bool memview_anchor_invalidate(struct mmu_interval_notifier *notifier,
				      const struct mmu_notifier_range *range,
				      unsigned long seq)
{
	struct memview_anchor *anchor =
		container_of(notifier, struct memview_anchor, notifier);
	unsigned long first = anchor->pgoff;
	unsigned long last = first + anchor->pages - 1;
	struct lockdep_map *core;

	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_SOFT_DIRTY:
		/* About the VMA, which nobody uses, not the file. */
		return true;
	default:
		break;
	}
	if (!mmu_notifier_range_blockable(range))
		return false;

	core = memview_announcement_begin(&memview_anchor_announcement);
	if (range->event == MMU_NOTIFY_UNMAP ||
	    range->event == MMU_NOTIFY_RELEASE) {
		memview_anchor_die(anchor);
	} else {
		if (range->end < anchor->addr + (anchor->pages << PAGE_SHIFT))
			last = first +
			       ((range->end - 1 - anchor->addr) >> PAGE_SHIFT);
		if (range->start > anchor->addr)
			first += (range->start - anchor->addr) >> PAGE_SHIFT;
		memview_anchor_change(anchor, range->event, first, last);
	}
	memview_announcement_end(&memview_anchor_announcement, core);
	return true;
}

static const struct mmu_interval_notifier_ops memview_anchor_ops = {
	.invalidate = memview_anchor_invalidate,
};

/* munmap and mremap may have an anchor as a whole or not at all. */
static int memview_anchor_may_split(struct vm_area_struct *vma,
				    unsigned long addr)
{
	return -EINVAL;
}

static int memview_anchor_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static int memview_anchor_mprotect(struct vm_area_struct *vma,
				   unsigned long start, unsigned long end,
				   unsigned long newflags)
{
	return -EACCES;
}

/*
 * In the place of the file's own. There is no ->fault, so an anchor stays
 * empty, and no ->close: FUSE's writes back, under the mmap lock; see
 * memview_anchor_release_work().
 */
static const struct vm_operations_struct memview_anchor_vm_ops = {
	.may_split = memview_anchor_may_split,
	.mremap = memview_anchor_mremap,
	.mprotect = memview_anchor_mprotect,
};

/*
 * Makes the VMA one that nobody can access, or do anything to but unmap it. It
 * has no special PFNs, and no entries at all, but to be taken for one that does
 * keeps madvise and others of this mm from invalidating it without a lock of
 * the file; see memview_anchor_invalidate(). (VM_MAYWRITE is counted in the
 * file's mapping and must stay.)
 */
static void memview_anchor_disarm(struct vm_area_struct *vma)
{
	/* As mprotect would. */
	if ((vma->vm_flags & (VM_EXEC | VM_WRITE)) == VM_EXEC)
		vma->vm_mm->exec_vm -= vma_pages(vma);
	vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP | VM_PFNMAP,
		     VM_READ | VM_WRITE | VM_EXEC | VM_MAYREAD | VM_MAYEXEC);
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	vma->vm_ops = &memview_anchor_vm_ops;
}

/*
 * Checks what mmap gave us, under the mmap lock, since another thread of this
 * mm may have put something else there, and takes the VMA's rights away.
 */
static int memview_anchor_adopt(struct memview_anchor *anchor,
				unsigned long pages)
{
	const unsigned long bad = VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB;
	unsigned long need = VM_MAYSHARE | VM_MAYREAD;
	struct mm_struct *mm = anchor->view->mm;
	struct vm_area_struct *vma;
	int ret = -EAGAIN;

	if (anchor->perm & MEMVIEW_MAP_WRITE)
		need |= VM_MAYWRITE;
	if (anchor->perm & MEMVIEW_MAP_EXEC)
		need |= VM_MAYEXEC;

	mmap_write_lock(mm);
	vma = find_vma(mm, anchor->addr);
	if (!vma || vma->vm_start != anchor->addr ||
	    vma_pages(vma) != pages || vma->vm_pgoff != anchor->pgoff ||
	    !vma->vm_file || READ_ONCE(anchor->dead))
		goto unlock;
	/* Overlayfs and FUSE passthrough put another file here. */
	if (!memview_fs_allowed(vma->vm_file) || (vma->vm_flags & bad) ||
	    !vma->vm_ops || !vma->vm_ops->fault) {
		ret = -EOPNOTSUPP;
		goto unlock;
	}
	ret = -EACCES;
	if ((vma->vm_flags & need) != need)
		goto unlock;
	if (anchor->vm_file)
		fput(anchor->vm_file);
	anchor->vm_file = get_file(vma->vm_file);
	anchor->vm_ops = vma->vm_ops;
	memview_anchor_disarm(vma);
	/* Pairs with memview_anchor_invalidate(). */
	smp_store_release(&anchor->mapping, anchor->vm_file->f_mapping);
	ret = 0;
unlock:
	mmap_write_unlock(mm);
	return ret;
}

/*
 * Maps the file at @anchor->addr, where there is room, and makes an anchor of
 * the VMA. The core checks the file for exactly the protection that is asked
 * for. After mlockall(MCL_FUTURE) it would also read all of the chunk in, so
 * let it check a single page then.
 */
static int memview_anchor_mmap_file(struct memview_anchor *anchor)
{
	unsigned long length = anchor->pages << PAGE_SHIFT;
	loff_t offset = (loff_t)anchor->pgoff << PAGE_SHIFT;
	unsigned long prot = PROT_READ;
	unsigned long addr;
	int ret;

	if (anchor->perm & MEMVIEW_MAP_WRITE)
		prot |= PROT_WRITE;
	if (anchor->perm & MEMVIEW_MAP_EXEC)
		prot |= PROT_EXEC;
	if (READ_ONCE(current->mm->def_flags) & VM_LOCKED) {
		addr = vm_mmap(anchor->file, anchor->addr, PAGE_SIZE, prot,
			       MAP_SHARED | MAP_FIXED, offset);
		if (IS_ERR_VALUE(addr))
			return addr;
		ret = memview_anchor_adopt(anchor, 1);
		if (ret)
			return ret;
		prot = PROT_NONE;
	}
	addr = vm_mmap(anchor->file, anchor->addr, length, prot,
		       MAP_SHARED | MAP_FIXED, offset);
	if (IS_ERR_VALUE(addr))
		return addr;
	ret = mmu_interval_notifier_insert(&anchor->notifier, current->mm,
					   anchor->addr, length,
					   &memview_anchor_ops);
	if (ret)
		return ret;
	/* It may only have been queued; wait until it works. */
	mmu_interval_read_begin(&anchor->notifier);
	ret = memview_anchor_adopt(anchor, anchor->pages);
	if (ret)
		mmu_interval_notifier_remove(&anchor->notifier);
	return ret;
}

/*
 * In the view's mm: the VMA, its notifier, and what they are for. Until the VMA
 * is an anchor, a page of nothing on both sides keeps the core from merging it
 * with another mapping of the file.
 */
static int memview_anchor_mmap(void *data)
{
	struct memview_anchor *anchor = data;
	unsigned long length = anchor->pages << PAGE_SHIFT;
	unsigned long room;
	int ret;

	room = vm_mmap(NULL, 0, length + 2 * PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	if (IS_ERR_VALUE(room))
		return room;
	anchor->addr = room + PAGE_SIZE;
	ret = memview_anchor_mmap_file(anchor);
	if (!ret) {
		vm_munmap(room, PAGE_SIZE);
		vm_munmap(anchor->addr + length, PAGE_SIZE);
	} else if (!READ_ONCE(anchor->dead)) {
		vm_munmap(room, length + 2 * PAGE_SIZE);
	}
	return ret;
}

/**
 * struct memview_call - a function that runs in the view's mm
 * @work: for &memview_wq
 * @view: whose mm
 * @cred: of the caller, for the checks that mmap makes
 * @fn:   what to call
 * @data: with what
 * @ret:  what it returned
 */
struct memview_call {
	struct work_struct work;
	struct memview *view;
	const struct cred *cred;
	int (*fn)(void *data);
	void *data;
	int ret;
};

static void memview_call_work(struct work_struct *work)
{
	struct memview_call *call =
		container_of(work, struct memview_call, work);
	struct mm_struct *mm = call->view->mm;
	const struct cred *old;

	if (!mmget_not_zero(mm)) {
		call->ret = -ESRCH;
		return;
	}
	old = override_creds(call->cred);
	kthread_use_mm(mm);
	call->ret = call->fn(call->data);
	kthread_unuse_mm(mm);
	revert_creds(old);
	/* What goes with an mm may want us, or wait for a file system. */
	mmput_async(mm);
}

/*
 * Calls @fn in the view's mm. Returns what it returns, or ESRCH if the mm is no
 * more, and with it all VMAs.
 */
static int memview_in_mm(struct memview *view, int (*fn)(void *data),
			 void *data)
{
	struct memview_call call = {
		.view = view,
		.cred = current_cred(),
		.fn = fn,
		.data = data,
	};

	if (current->mm == view->mm)
		return fn(data);
	INIT_WORK_ONSTACK(&call.work, memview_call_work);
	if (current->flags & PF_KTHREAD) {
		memview_call_work(&call.work);
	} else {
		queue_work(memview_wq, &call.work);
		flush_work(&call.work);
	}
	destroy_work_on_stack(&call.work);
	return call.ret;
}

/*
 * Ends an anchor, whose VMA and notifier are gone. What the file system's
 * ->close of the VMA would have done is done here, where it keeps nobody
 * waiting: FUSE's writes the whole file back, which the last descriptor must
 * not be closed before. A worker's files are closed here, too, since the core
 * would leave them to one thread that closes files for all of the kernel.
 */
static void memview_anchor_release_work(struct work_struct *work)
{
	struct memview_anchor *anchor =
		container_of(work, struct memview_anchor, release);
	struct vm_area_struct vma = {
		.vm_start = anchor->addr,
		.vm_end = anchor->addr + (anchor->pages << PAGE_SHIFT),
		.vm_pgoff = anchor->pgoff,
		.vm_file = anchor->vm_file,
		.vm_ops = anchor->vm_ops,
	};

	if (anchor->vm_ops->close)
		anchor->vm_ops->close(&vma);
	__fput_sync(anchor->vm_file);
	__fput_sync(anchor->file);
	kfree(anchor);
	module_put(THIS_MODULE);
}

/* A task's own files are closed before its system call returns. */
static void memview_anchor_release(struct memview_anchor *anchor)
{
	if (anchor->vm_file &&
	    (anchor->vm_ops->close || (current->flags & PF_KTHREAD))) {
		__module_get(THIS_MODULE);
		INIT_WORK(&anchor->release, memview_anchor_release_work);
		queue_work(memview_release_wq, &anchor->release);
		return;
	}
	if (anchor->vm_file)
		fput(anchor->vm_file);
	fput(anchor->file);
	kfree(anchor);
}

/**
 * memview_anchor_create() - a new anchor
 * @view:  the view
 * @file:  file to map, checked by memview_file_check()
 * @pgoff: first file page
 * @pages: length in pages
 * @perm:  MEMVIEW_MAP_* bits
 *
 * Covers the range in whole chunks, as far as the file system's limits allow.
 *
 * Context: sleeps, possibly for as long as a file system's ->mmap.
 * Return: the anchor, not published yet, or an error pointer.
 */
struct memview_anchor *memview_anchor_create(struct memview *view,
					     struct file *file,
					     unsigned long pgoff,
					     unsigned long pages,
					     unsigned int perm)
{
	unsigned long limit =
		file_inode(file)->i_sb->s_maxbytes >> PAGE_SHIFT;
	struct memview_anchor *anchor;
	unsigned long end;
	int ret;

	anchor = kzalloc(sizeof(*anchor), GFP_KERNEL_ACCOUNT);
	if (!anchor)
		return ERR_PTR(-ENOMEM);
	anchor->view = view;
	anchor->perm = perm;
	anchor->group.files = RB_ROOT_CACHED;
	INIT_HLIST_NODE(&anchor->node);
	INIT_LIST_HEAD(&anchor->idle);
	anchor->pgoff = memview_chunk(pgoff);
	end = round_up(pgoff + pages, MEMVIEW_CHUNK_PAGES);
	if (end > limit || end < pgoff)
		end = max(limit, pgoff + pages);
	anchor->pages = end - anchor->pgoff;
	anchor->file = get_file(file);

	/* mmap checks the limit of who calls it. A worker has none. */
	if (current->mm != view->mm &&
	    READ_ONCE(view->mm->total_vm) + anchor->pages >
	    rlimit(RLIMIT_AS) >> PAGE_SHIFT)
		ret = -ENOMEM;
	else
		ret = memview_in_mm(view, memview_anchor_mmap, anchor);
	if (ret) {
		memview_anchor_release(anchor);
		return ERR_PTR(ret);
	}
	return anchor;
}

/* In the view's mm. */
static int memview_anchors_munmap(void *data)
{
	struct list_head *anchors = data;
	struct memview_anchor *anchor;

	list_for_each_entry(anchor, anchors, idle)
		/* A dead one's place may be another's by now. */
		if (!anchor->dead)
			vm_munmap(anchor->addr, anchor->pages << PAGE_SHIFT);
	return 0;
}

/*
 * Destroys anchors that nobody can find any more. Waits for no file system.
 */
static void memview_anchors_discard(struct memview *view,
				    struct list_head *anchors)
{
	struct memview_anchor *anchor, *next;

	if (list_empty(anchors))
		return;
	list_for_each_entry(anchor, anchors, idle) {
		memview_watch_remove(anchor->watches);
		mmu_interval_notifier_remove(&anchor->notifier);
	}
	memview_in_mm(view, memview_anchors_munmap, anchors);
	list_for_each_entry_safe(anchor, next, anchors, idle)
		memview_anchor_release(anchor);
}

/**
 * memview_anchor_destroy() - drop an anchor that was not published
 * @anchor: from memview_anchor_create(), without segments
 */
void memview_anchor_destroy(struct memview_anchor *anchor)
{
	LIST_HEAD(list);

	list_add(&anchor->idle, &list);
	memview_anchors_discard(anchor->view, &list);
}

/**
 * memview_anchor_idle() - an anchor's last segment is gone
 * @anchor: published
 *
 * A deleted file is let go at once: keeping it would keep its space. So is one
 * that is open for writing: keeping it would keep others from executing it.
 *
 * Context: &memview.lock is held for write.
 */
void memview_anchor_idle(struct memview_anchor *anchor)
{
	struct memview *view = anchor->view;
	unsigned long delay = msecs_to_jiffies(READ_ONCE(anchor_idle_ms));

	if (anchor->dead || !file_inode(anchor->vm_file)->i_nlink ||
	    (anchor->file->f_mode & FMODE_WRITE)) {
		anchor->expires = jiffies;
		list_add(&anchor->idle, &view->idle);
		mod_delayed_work(memview_wq, &view->reap, 0);
		return;
	}
	anchor->expires = jiffies + delay;
	list_add_tail(&anchor->idle, &view->idle);
	queue_delayed_work(memview_wq, &view->reap, delay);
}

/**
 * memview_anchor_busy() - an anchor has segments again
 * @anchor: published
 *
 * Context: &memview.lock is held for write.
 */
void memview_anchor_busy(struct memview_anchor *anchor)
{
	list_del_init(&anchor->idle);
}

/**
 * memview_anchors_reap() - destroy idle anchors whose time has come
 * @work: &memview.reap
 */
void memview_anchors_reap(struct work_struct *work)
{
	struct memview *view = container_of(to_delayed_work(work),
					    struct memview, reap);
	struct memview_anchor *anchor, *next;
	unsigned long now;
	LIST_HEAD(old);

	down_write(&view->lock);
	now = jiffies;
	list_for_each_entry_safe(anchor, next, &view->idle, idle) {
		if (time_before(now, anchor->expires)) {
			queue_delayed_work(memview_wq, &view->reap,
					   anchor->expires - now);
			break;
		}
		if (!hlist_unhashed(&anchor->node))
			hash_del(&anchor->node);
		list_move_tail(&anchor->idle, &old);
	}
	up_write(&view->lock);
	memview_anchors_discard(view, &old);
}

/**
 * memview_anchors_destroy() - drop all anchors of a closed view
 * @view: without segments; nobody maps any more
 */
void memview_anchors_destroy(struct memview *view)
{
	cancel_delayed_work_sync(&view->reap);
	memview_anchors_discard(view, &view->idle);
}
