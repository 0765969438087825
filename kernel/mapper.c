// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMAs of a view in the processes that map it, and how to clear their page
 * table entries from outside, without locks of the core: see "Theory of
 * operation" in memview.h.
 */
#include <linux/delay.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "announcement.h"
#include "compat.h"
#include "memview.h"
#include "trace.h"

/**
 * memview_zap_vma() - clear entries of one VMA of a view
 * @mv:    a live VMA
 * @start: first address
 * @end:   end address
 *
 * Works on a stand-in for the VMA, because the real one may be changing: all
 * that clearing entries needs is the mm and page tables that stay, and
 * retirement sees to these. It spans whole huge pages, since one that is only
 * partly in the range is cleared as a whole.
 *
 * Context: &memview.lock is held.
 */
static void memview_zap_vma(struct memview_vma *mv, unsigned long start,
			    unsigned long end)
{
	struct vm_area_struct vma = {
		.vm_mm = mv->mapper->notifier.mm,
		.vm_start = round_down(start, PMD_SIZE),
		.vm_end = round_up(end, PMD_SIZE),
		.vm_ops = &memview_vm_ops,
	};

	INIT_LIST_HEAD(&vma.anon_vma_chain);
	vm_flags_init(&vma, VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE |
			    VM_SHARED | VM_MAYSHARE | VM_DONTEXPAND);
	atomic64_inc(&mv->mapper->view->zaps);
	trace_memview_zap(memview_number(mv->mapper->view), start, end);
	zap_vma_range(&vma, start, end - start);
}

/*
 * Clearing entries is bracketed by notifications to the mapper's mm, and who
 * registers a notifier there must not come in between: KVM counts. The core
 * keeps them apart by mm_take_all_locks(), which takes the mmap lock, write
 * locks all VMAs, and then takes the i_mmap locks of all of their files, one
 * after the other in address order. Where we hold neither the mmap lock nor a
 * lock of the VMA, the view's own i_mmap lock must do.
 */

/**
 * memview_zap_begin() - keep notifiers from being registered in mappers
 * @view: the view
 *
 * Context: no i_mmap lock and not &memview.lock is held. Sleeps until a
 * registration is over, which never waits for I/O.
 */
void memview_zap_begin(struct memview *view)
{
	if (view->inode)
		i_mmap_lock_read(view->inode->i_mapping);
}

/**
 * memview_zap_end() - the reverse
 * @view: the view
 */
void memview_zap_end(struct memview *view)
{
	if (view->inode)
		i_mmap_unlock_read(view->inode->i_mapping);
}

/*
 * Is the process that holds @view's i_mmap lock for write registering a
 * notifier, and asleep until we let go of @mapping's, which our caller holds?
 *
 * mm_take_all_locks() marks a mapping before it waits for its lock and clears
 * the mark after it has dropped the lock; there is only one at a time, since
 * it holds a mutex. So if both mappings are marked, it is about both. Since
 * @mapping's lock is ours, it either waits for it, or took it before @view's
 * and is dropping all again. But nobody sleeps uninterruptibly there.
 */
static bool memview_owner_waits_for(struct memview *view,
				    struct address_space *mapping)
{
	struct address_space *own = view->inode->i_mapping;
	struct task_struct *owner;
	bool waits = false;

	rcu_read_lock();
	owner = memview_rwsem_writer(&own->i_mmap_rwsem);
	if (owner && test_bit(AS_MM_ALL_LOCKS, &own->flags) &&
	    test_bit(AS_MM_ALL_LOCKS, &mapping->flags)) {
		smp_rmb(); /* the state it is in after it has set both marks */
		waits = READ_ONCE(owner->__state) == TASK_UNINTERRUPTIBLE;
		smp_rmb(); /* and that it was still the one then */
		waits = waits && test_bit(AS_MM_ALL_LOCKS, &own->flags) &&
			test_bit(AS_MM_ALL_LOCKS, &mapping->flags) &&
			memview_rwsem_writer(&own->i_mmap_rwsem) == owner;
	}
	rcu_read_unlock();
	return waits;
}

/**
 * memview_zap_begin_nested() - the same, within an announcement to anchors
 * @view:    the view
 * @mapping: of the file whose i_mmap lock is held, or NULL
 *
 * The core announces things with i_mmap locks held, the view's among them, so
 * this one is only tried for. Nor may that go on for ever under a file's: the
 * registration may be waiting for it. Then, however, it won't get on before we
 * are done, nor will any other.
 *
 * Context: not &memview.lock is held, since others that the registration waits
 * for may wait for that.
 * Return: true if memview_zap_end() is to be called, as it is without @mapping.
 */
bool memview_zap_begin_nested(struct memview *view,
			      struct address_space *mapping)
{
	struct address_space *own = view->inode->i_mapping;
	bool locked = i_mmap_trylock_read(own);

	if (likely(locked))
		return true;
	atomic_inc(&view->zappers);
	do {
		if (mapping && memview_owner_waits_for(view, mapping))
			break;
		usleep_range(20, 50);
		locked = i_mmap_trylock_read(own);
	} while (!locked);
	atomic_dec(&view->zappers);
	atomic_inc(&view->zapped);
	wake_up_all(&view->turn);
	return locked;
}

/*
 * A mapper is about to have the core take the view's i_mmap lock for write.
 * Whoever is trying for it within a file's could be kept trying for ever by
 * some processes that do this all the time, so they come first: but not those
 * that come later, lest the mapper waits for ever. They need nothing that the
 * mapper holds.
 */
static void memview_let_zap(struct memview *view)
{
	int zappers = atomic_read(&view->zappers);
	int zapped = atomic_read(&view->zapped);

	if (unlikely(zappers))
		wait_event(view->turn, !atomic_read(&view->zappers) ||
			   atomic_read(&view->zapped) - zapped >= zappers);
}

/**
 * memview_zap() - clear all mappers' entries for a part of a view
 * @view:  the view
 * @first: first page
 * @last:  last page, inclusive
 *
 * Context: between memview_zap_begin() and memview_zap_end(); &memview.lock is
 * held. Nobody can put new entries there that are wrong, be it because the lock
 * is held for write or because the pages in question are locked.
 */
void memview_zap(struct memview *view, unsigned long first, unsigned long last)
{
	struct interval_tree_node *node;

	lockdep_assert_held(&view->lock);
	for (node = interval_tree_iter_first(&view->vmas, first, last); node;
	     node = interval_tree_iter_next(node, first, last)) {
		struct memview_vma *mv =
			container_of(node, struct memview_vma, node);
		unsigned long low = max(first, node->start) - node->start;
		unsigned long high = min(last, node->last) - node->start;

		if (mv->live)
			memview_zap_vma(mv, mv->start + (low << PAGE_SHIFT),
					mv->start + ((high + 1) << PAGE_SHIFT));
	}
}

/**
 * memview_zap_fault() - clear the entry that a fault is about
 * @vmf: the fault in the mapper
 *
 * Its lock keeps notifiers from being registered in the mapper's mm.
 *
 * Context: &memview.lock is held.
 */
void memview_zap_fault(struct vm_fault *vmf)
{
	memview_zap_vma(vmf->vma->vm_private_data, vmf->address,
			vmf->address + PAGE_SIZE);
}

MEMVIEW_ANNOUNCEMENT(memview_mapper_announcement);

/**
 * memview_mapper_invalidate() - the core is about to change a mapper's memory
 * @notifier: of the mapper
 * @range:    what, and why
 * @seq:      unused: nobody waits for us to have seen this
 *
 * Page tables may be freed or moved (mremap moves them before it asks our
 * ->mremap) after UNMAP, and are after RELEASE. So everything is cleared now,
 * while they are whole, and nobody will touch them again. If the VMA survives,
 * its next fault revives it.
 *
 * No notifier can be registered meanwhile: the mmap lock is held for write, or
 * the mm has no users left.
 *
 * Return: false if this would have to sleep and must not.
 */
static bool memview_mapper_invalidate(struct mmu_interval_notifier *notifier,
				      const struct mmu_notifier_range *range,
				      unsigned long seq)
{
	struct memview_mapper *mapper =
		container_of(notifier, struct memview_mapper, notifier);
	struct memview *view = mapper->view;
	struct lockdep_map *core;
	struct memview_vma *mv;

	if (range->event != MMU_NOTIFY_UNMAP &&
	    range->event != MMU_NOTIFY_RELEASE)
		return true;
	if (!mmu_notifier_range_blockable(range))
		return false;

	core = memview_announcement_begin(&memview_mapper_announcement);
	memview_let_zap(view);
	down_write(&view->lock);
	list_for_each_entry(mv, &mapper->vmas, sibling) {
		if (!mv->live || mv->start >= range->end ||
		    mv->end <= range->start)
			continue;
		memview_zap_vma(mv, mv->start, mv->end);
		mv->live = false;
	}
	up_write(&view->lock);
	memview_announcement_end(&memview_mapper_announcement, core);
	return true;
}

static const struct mmu_interval_notifier_ops memview_mapper_ops = {
	.invalidate = memview_mapper_invalidate,
};

/**
 * memview_vma_revive() - let a retired VMA have entries again
 * @mv: a VMA that a fault is being served for
 *
 * Context: a lock of the VMA is held, so that it can't be on its way out.
 * &memview.lock is not.
 * Return: false if the VMA is not where it was mapped (mremap is at work).
 */
bool memview_vma_revive(struct memview_vma *mv)
{
	const struct mmu_interval_notifier *notifier = &mv->mapper->notifier;
	struct memview *view = mv->mapper->view;
	bool inside;

	down_write(&view->lock);
	inside = mv->start >= notifier->interval_tree.start &&
		 mv->end - 1 <= notifier->interval_tree.last;
	if (inside)
		mv->live = true;
	up_write(&view->lock);
	return inside;
}

/* One more VMA of a view, if it can have one. */
static struct memview_vma *memview_vma_alloc(struct memview *view)
{
	struct memview_vma *mv = kzalloc(sizeof(*mv), GFP_KERNEL_ACCOUNT);

	if (!mv)
		return NULL;
	down_write(&view->lock);
	if (view->nr_vmas < MEMVIEW_VMAS_MAX) {
		view->nr_vmas++;
	} else {
		kfree(mv);
		mv = NULL;
	}
	up_write(&view->lock);
	return mv;
}

static void memview_vma_free(struct memview *view, struct memview_vma *mv)
{
	if (!mv)
		return;
	down_write(&view->lock);
	view->nr_vmas--;
	up_write(&view->lock);
	kfree(mv);
}

/* Lets others find @mv, which shows what @vma does. &memview.lock is held. */
static void memview_vma_add(struct memview_vma *mv,
			    struct memview_mapper *mapper,
			    struct vm_area_struct *vma)
{
	mv->mapper = mapper;
	mv->start = vma->vm_start;
	mv->end = vma->vm_end;
	mv->node.start = vma->vm_pgoff;
	mv->node.last = vma->vm_pgoff + vma_pages(vma) - 1;
	interval_tree_insert(&mv->node, &mapper->view->vmas);
	list_add(&mv->sibling, &mapper->vmas);
}

/* Leaves @mv with what is between two addresses. &memview.lock is held. */
static void memview_vma_shrink(struct memview_vma *mv, unsigned long start,
			       unsigned long end)
{
	struct memview *view = mv->mapper->view;

	interval_tree_remove(&mv->node, &view->vmas);
	mv->node.start += (start - mv->start) >> PAGE_SHIFT;
	mv->node.last -= (mv->end - end) >> PAGE_SHIFT;
	mv->start = start;
	mv->end = end;
	view->changes++;
	interval_tree_insert(&mv->node, &view->vmas);
}

/**
 * memview_mmap() - ->mmap of a view fd
 * @file: view fd
 * @vma:  new VMA
 *
 * VM_DONTEXPAND makes the VMA special for the core: no merging, no growth, no
 * huge page collapse, no mlock. VM_DONTCOPY leaves it out of forked children.
 *
 * Return: 0, EINVAL (private, or beyond the view's end) or ENOMEM, which is also
 * that the view has MEMVIEW_VMAS_MAX VMAs.
 */
int memview_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct memview *view = file_inode(file)->i_private;
	unsigned long pages = vma_pages(vma);
	struct memview_mapper *mapper;
	struct memview_vma *mv;
	int ret;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= view->pages || pages > view->pages - vma->vm_pgoff)
		return -EINVAL;

	mapper = kzalloc(sizeof(*mapper), GFP_KERNEL_ACCOUNT);
	mv = memview_vma_alloc(view);
	if (!mapper || !mv) {
		ret = -ENOMEM;
		goto free;
	}
	mapper->view = view;
	INIT_LIST_HEAD(&mapper->vmas);
	ret = mmu_interval_notifier_insert_locked(&mapper->notifier,
						  vma->vm_mm, vma->vm_start,
						  pages << PAGE_SHIFT,
						  &memview_mapper_ops);
	/* It may not be interrupted; start again after the signal. */
	if (ret == -EINTR)
		ret = -ERESTARTNOINTR;
	if (ret)
		goto free;
	/*
	 * While somebody is invalidating this mm the notifier is only queued;
	 * wait until it works. They do not need the mmap lock that we hold.
	 */
	mmu_interval_read_begin(&mapper->notifier);

	memview_let_zap(view);
	mv->live = true;
	down_write(&view->lock);
	memview_vma_add(mv, mapper, vma);
	up_write(&view->lock);

	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP);
	vma->vm_ops = &memview_vm_ops;
	vma->vm_private_data = mv;
	return 0;
free:
	memview_vma_free(view, mv);
	kfree(mapper);
	return ret;
}

/**
 * memview_vma_may_split() - ->may_split
 * @vma:  VMA of a view
 * @addr: where
 *
 * Faults stay out from here on, until the mmap lock, held for write, is
 * dropped: memview_vma_open() changes what the VMA shows before the core
 * changes the VMA.
 *
 * Return: 0 or ENOMEM, as memview_mmap().
 */
int memview_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	struct memview_vma *mv = vma->vm_private_data;

	if (!mv)
		return 0;
	vma_start_write(vma);
	if (!mv->spare)
		mv->spare = memview_vma_alloc(mv->mapper->view);
	return mv->spare ? 0 : -ENOMEM;
}

/**
 * memview_vma_open() - a VMA was copied
 * @vma: the copy
 *
 * For a split, @vma becomes one side of the original, whose own bounds change
 * right after this. For mremap, it is the place to move to; nothing is ever
 * shown there. For fork (of a process that used MADV_DOFORK), the child gets a
 * VMA that shows nothing.
 */
void memview_vma_open(struct vm_area_struct *vma)
{
	struct memview_vma *old = vma->vm_private_data;
	struct memview *view;
	struct memview_vma *mv;

	if (!old)
		return;
	if (vma->vm_mm != old->mapper->notifier.mm) {
		/*
		 * Nobody would find the child's entries to clear them. Entries
		 * of a shared mapping are not copied, but to be sure of it:
		 */
		vm_flags_set(vma, VM_WIPEONFORK);
		vma->vm_private_data = NULL;
		return;
	}

	view = old->mapper->view;
	memview_let_zap(view);
	if (vma->vm_start >= old->start && vma->vm_end <= old->end) {
		mv = old->spare;
		old->spare = NULL;
	} else {
		mv = memview_vma_alloc(view);
	}
	vma->vm_private_data = mv;
	/* Without it the move, which will be refused, shows nothing, either. */
	if (!mv)
		return;

	down_write(&view->lock);
	memview_vma_add(mv, old->mapper, vma);
	if (mv->start >= old->start && mv->end <= old->end) {
		mv->live = old->live;
		if (mv->start == old->start)
			memview_vma_shrink(old, mv->end, old->end);
		else
			memview_vma_shrink(old, old->start, mv->start);
	}
	up_write(&view->lock);
}

/**
 * memview_vma_close() - a VMA is gone
 * @vma: the VMA; its page tables may already be freed
 */
void memview_vma_close(struct vm_area_struct *vma)
{
	struct memview_vma *mv = vma->vm_private_data;
	struct memview_mapper *mapper;
	struct memview *view;
	bool last;

	if (!mv)
		return;
	vma->vm_private_data = NULL;
	mapper = mv->mapper;
	view = mapper->view;
	down_write(&view->lock);
	interval_tree_remove(&mv->node, &view->vmas);
	list_del(&mv->sibling);
	last = list_empty(&mapper->vmas);
	if (last)
		memview_sinks_forget(mapper);
	up_write(&view->lock);
	memview_vma_free(view, mv->spare);
	memview_vma_free(view, mv);
	if (last) {
		mmu_interval_notifier_remove(&mapper->notifier);
		kfree(mapper);
	}
}

/**
 * memview_vma_mprotect() - ->mprotect
 * @vma:      VMA of a view
 * @start:    first address to change
 * @end:      end address
 * @newflags: VM_READ, VM_WRITE and VM_EXEC of the future
 *
 * mprotect rewrites present entries with what the whole VMA may do. For reads
 * that is right (there is no segment without MEMVIEW_MAP_READ), for writes it
 * leaves read-only entries alone (because of ->page_mkwrite), but it would make
 * every entry executable. So there must be no entries then.
 *
 * Return: 0, always.
 */
int memview_vma_mprotect(struct vm_area_struct *vma, unsigned long start,
			 unsigned long end, unsigned long newflags)
{
	struct memview_vma *mv = vma->vm_private_data;
	struct memview *view;

	if (!mv || !(newflags & VM_EXEC))
		return 0;
	/* Faults stay out until the mmap lock, held for write, is dropped. */
	vma_start_write(vma);
	view = mv->mapper->view;
	down_read(&view->lock);
	if (mv->live)
		memview_zap_vma(mv, start, end);
	up_read(&view->lock);
	return 0;
}

/**
 * memview_vma_mremap() - ->mremap: a view stays where it was mapped
 * @vma: at the new place
 *
 * Return: EINVAL.
 */
int memview_vma_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}
