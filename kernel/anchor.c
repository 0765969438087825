// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anchors: how a file finds a view's mappings of its pages. See "Theory of
 * operation" in memview.h.
 *
 * Anchors are made for aligned chunks of a file and kept for a moment after
 * their last segment is gone, so that most maps and unmaps do not touch VMAs.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/hash.h>
#include <linux/kthread.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "memview.h"

#define MEMVIEW_CHUNK_PAGES	(SZ_1G >> PAGE_SHIFT)

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
