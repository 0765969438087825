// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults in a view: what a fault is about, and in which order it is served.
 * See "Theory of operation" in memview.h, page.c for pages, and entry.c for page
 * tables.
 */
#include <linux/backing-dev.h>
#include <linux/file.h>
#include <linux/mempolicy.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/writeback.h>

#include "compat.h"
#include "entry.h"
#include "trace.h"

/* Locks the view for a fault in @mv. Returns false if it can't have entries. */
static bool memview_lock(struct memview_vma *mv)
{
	struct memview *view = mv->mapper->view;

	down_read(&view->lock);
	while (unlikely(!mv->live)) {
		up_read(&view->lock);
		if (!memview_vma_revive(mv))
			return false;
		down_read(&view->lock);
	}
	return true;
}

/* Memory that is lost must not be mapped, nor come back to life beside it. */
static vm_fault_t memview_spare(struct memview_target *target)
{
	struct xarray *poisoned = &target->view->poisoned;
	unsigned long low = target->low;

	if (xa_load(poisoned, target->page))
		return VM_FAULT_HWPOISON;
	if (xa_find(poisoned, &low, target->high, XA_PRESENT)) {
		target->low = target->page;
		target->high = target->page;
	}
	return 0;
}

/*
 * Looks up what @vmf is about. The view is locked. Returns 0 or what the fault
 * shall return.
 */
static vm_fault_t memview_find(struct vm_fault *vmf, bool write,
			       struct memview_target *target)
{
	struct vm_area_struct *vma = vmf->vma;
	struct memview_vma *mv = vma->vm_private_data;
	struct memview *view = mv->mapper->view;
	unsigned long slot = pte_index(vmf->address), left;
	struct memview_segment *segment;
	struct memview_anchor *anchor;

	/* A VMA lock does not keep the VMA from having been cut, in ->open. */
	if (vmf->address < mv->start || vmf->address >= mv->end)
		return VM_FAULT_NOPAGE;
	segment = memview_segment_first(&view->tree, vmf->pgoff, vmf->pgoff);
	if (!segment)
		return VM_FAULT_SIGBUS;
	anchor = memview_anchor_of(segment);
	if (anchor->dead)
		return VM_FAULT_SIGBUS;
	if ((write && !(segment->perm & MEMVIEW_MAP_WRITE)) ||
	    ((vmf->flags & FAULT_FLAG_INSTRUCTION) &&
	     !(segment->perm & MEMVIEW_MAP_EXEC)))
		return VM_FAULT_SIGSEGV;
	target->mv = mv;
	target->view = view;
	target->segment = segment;
	target->file = anchor->vm_file;
	target->mapping = anchor->mapping;
	target->vm_ops = anchor->vm_ops;
	target->page = vmf->pgoff;
	target->index = memview_segment_file_page(segment, vmf->pgoff);
	target->changes = view->changes;
	target->size = i_size_read(target->mapping->host);
	/* The core would map pages of a tmpfs' folio beyond the file's end. */
	left = DIV_ROUND_UP(target->size, PAGE_SIZE);
	left -= min(left, target->index + 1);
	target->low = vmf->pgoff -
		      min3(slot, (vmf->address - mv->start) >> PAGE_SHIFT,
			   vmf->pgoff - segment->first);
	left = min3(left, segment->last - vmf->pgoff,
		    (mv->end - 1 - vmf->address) >> PAGE_SHIFT);
	target->high = vmf->pgoff + min(left, PTRS_PER_PTE - 1 - slot);
	target->rights = VM_READ;
	if (segment->perm & MEMVIEW_MAP_WRITE)
		target->rights |= VM_WRITE;
	if (segment->perm & MEMVIEW_MAP_EXEC)
		target->rights |= VM_EXEC;
	target->rights &= vma->vm_flags;
	target->quiet = !anchor->vm_ops->page_mkwrite &&
			!mapping_can_writeback(anchor->mapping) &&
			!memview_watched(vmf);
	return likely(xa_empty(&view->poisoned)) ? 0 : memview_spare(target);
}

/*
 * As memview_find(). Does it still show what @target says? If so, @now has the
 * part of what is around it that it has shown all the time.
 */
static bool memview_find_again(struct vm_fault *vmf, bool write,
			       const struct memview_target *target,
			       struct memview_target *now)
{
	/* Mostly nothing has happened. */
	if (likely(target->changes == target->view->changes &&
		   target->size == i_size_read(target->mapping->host) &&
		   xa_empty(&target->view->poisoned))) {
		*now = *target;
		return true;
	}
	if (memview_find(vmf, write, now) || now->mapping != target->mapping ||
	    now->index != target->index || now->rights != target->rights ||
	    now->quiet != target->quiet) {
		atomic64_inc(&target->view->retries);
		return false;
	}
	now->low = max(now->low, target->low);
	now->high = min(now->high, target->high);
	return true;
}

/**
 * memview_map_first() - map a folio as the core does it, before it is locked
 * @vmf:    the fault in the mapper
 * @page:   of the folio; locked before and after, but not meanwhile
 * @target: what the fault is about
 * @write:  the mapper is writing
 *
 * Some kernels make huge entries in no other way. And of a smaller folio that
 * is to be written to, all entries are made at once: making those writable
 * afterwards costs less than what we may do, which is to make them one by one.
 *
 * A page table that is put in the place of a huge entry stays until the mapper
 * unmaps the view, so that one is worth some patience with others who lock the
 * folio. Waiting for the lock, they would be handed it as soon as we drop it;
 * hence folio_wait_locked().
 *
 * Return: true if there is a huge entry.
 */
static bool memview_map_first(struct vm_fault *vmf, struct page *page,
			      const struct memview_target *target, bool write)
{
	struct folio *folio = page_folio(page);
	bool huge = memview_fits_huge(folio, target) &&
		    pmd_none(READ_ONCE(*vmf->pmd));
	unsigned int tries = huge ? 8 : 1;
	struct memview_target now;

	if (huge ? MEMVIEW_INSERTS_HUGE :
		   !folio_test_large(folio) || !write || vmf->page ||
			   memview_watched(vmf))
		return false;
	/*
	 * Fault-around skips what bears the mark of read-ahead. ->fault has seen
	 * to that; left is its other meaning, "to be reclaimed", of a folio that
	 * drop_caches could not drop.
	 */
	folio_clear_readahead(folio);
	unlock_page(page);
	do {
		folio_wait_locked(folio);
		if (!memview_lock(target->mv))
			break;
		if (memview_find_again(vmf, write, target, &now))
			memview_map_folio(vmf, folio, &now);
		up_read(&target->view->lock);
	} while (--tries && pmd_none(READ_ONCE(*vmf->pmd)));
	lock_page(page);
	return pmd_trans_huge(READ_ONCE(*vmf->pmd));
}

/*
 * Throttles a writer, without the fault's lock if the core lets us. Nothing
 * that the lock protects may be used after this.
 */
static vm_fault_t memview_balance(struct vm_fault *vmf,
				  struct address_space *mapping)
{
	bool drop = fault_flag_allow_retry_first(vmf->flags) &&
		    !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT);

	if (!mapping_can_writeback(mapping))
		return 0;
	if (drop)
		release_fault_lock(vmf);
	balance_dirty_pages_ratelimited(mapping);
	return drop ? VM_FAULT_COMPLETED : 0;
}

/* Maps @page, which is locked and referenced and is released here. */
static vm_fault_t memview_finish(struct vm_fault *vmf, struct page *page,
				 const struct memview_target *target,
				 bool write)
{
	bool mkwrite = target->vm_ops->page_mkwrite;
	struct folio *folio = page_folio(page);
	struct vm_area_struct vma;
	struct vm_fault inner = memview_inner(vmf, target, &vma,
					      write || target->quiet);
	struct memview_target now;
	bool dirtied = false;
	vm_fault_t ret;
	bool huge;

	huge = memview_map_first(vmf, page, target, write);
	if (write && mkwrite && memview_page_valid(page, target)) {
		ret = memview_make_writable(&inner, page, target);
		if (ret)
			goto put;
	}
	ret = VM_FAULT_NOPAGE;
	if (!memview_page_valid(page, target))
		goto unlock;
	/*
	 * Who cleans it again clears the entries that are to come. Most files
	 * have marked it, with all of a small folio, when they were asked.
	 */
	if (write && !(mkwrite && folio_test_dirty(folio) &&
		       !folio_test_large(folio)))
		dirtied = folio_mark_dirty(folio);
	if (!memview_lock(target->mv))
		goto unlock;
	/* If it was cleared meanwhile, don't leave a page table instead. */
	if (memview_find_again(vmf, write, target, &now) &&
	    (!huge || pmd_trans_huge(READ_ONCE(*vmf->pmd))))
		ret = memview_insert_folio(vmf, &inner, page, &now, write);
	up_read(&target->view->lock);
unlock:
	unlock_page(page);
put:
	put_page(page);
	if (ret & VM_FAULT_ERROR)
		return ret;
	if (write && !mkwrite)
		file_update_time(target->file);
	if (dirtied || (write && mkwrite))
		ret |= memview_balance(vmf, target->mapping);
	return ret;
}

/*
 * Second half of memview_fault(): what can't be done with the view locked. With
 * @page, which is released here, if it was to be had at once.
 */
static vm_fault_t memview_fault_page(struct vm_fault *vmf, struct page *page,
				     const struct memview_target *target,
				     bool write)
{
	struct memview_target now;
	vm_fault_t ret = 0;

	if (!page)
		ret = memview_get_page(vmf, target, &page);
	if (!(ret & ~VM_FAULT_MAJOR)) {
		ret |= memview_finish(vmf, page, target, write);
		return ret & VM_FAULT_SIGBUS ? memview_sink_fault(vmf, true) :
					       ret;
	}
	/* An error may be that of a file that is no longer shown. */
	if ((ret & VM_FAULT_ERROR) && !(ret & VM_FAULT_RETRY) &&
	    memview_lock(target->mv)) {
		if (!memview_find_again(vmf, write, target, &now))
			ret = VM_FAULT_NOPAGE;
		up_read(&target->view->lock);
	}
	return ret & VM_FAULT_SIGBUS ? memview_sink_fault(vmf, false) : ret;
}

/**
 * memview_fault() - a mapper touches a page that has no entry, or writes to one
 * that it may only read
 * @vmf: the fault
 *
 * Changes entries under the view's lock and leaves nothing for the core, which
 * would do it later, to do.
 *
 * Return: as ->fault and ->page_mkwrite; never with a page.
 */
static vm_fault_t memview_fault(struct vm_fault *vmf)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct memview_vma *mv = vmf->vma->vm_private_data;
	struct memview_target target;
	struct page *page = NULL;
	struct memview *view;
	vm_fault_t ret;
	bool cached;
	u64 number;

	if (!mv)
		return VM_FAULT_SIGBUS;
	if (vmf->page && memview_is_sink(vmf))
		return memview_sink_fault(vmf, false);
	if (!memview_lock(mv))
		return VM_FAULT_SIGBUS;
	view = mv->mapper->view;
	number = memview_number(view);
	ret = memview_find(vmf, write, &target);
	if (ret) {
		up_read(&view->lock);
		if (ret & VM_FAULT_SIGBUS)
			ret = memview_sink_fault(vmf, false);
		trace_memview_fault(number, vmf, false, ret);
		return ret;
	}
	if (write && target.quiet)
		ret = memview_map_cached(vmf, &target);
	cached = ret;
	if (!ret)
		page = memview_take_cached(&target);
	get_file(target.file);
	if (!ret && !page && (vmf->flags & FAULT_FLAG_VMA_LOCK)) {
		up_read(&view->lock);
		ret = memview_read_page(vmf, &target);
		fput(target.file);
		return ret;
	}
	memview_count_fault(&target);
	up_read(&view->lock);
	if (ret)
		file_update_time(target.file);
	else
		ret = memview_fault_page(vmf, page, &target, write);
	fput(target.file);
	/* With RETRY, what the lock has kept may be gone. */
	trace_memview_fault(number, vmf, cached, ret);
	return ret;
}

/**
 * memview_map_pages() - a mapper reads a page that has no entry
 * @vmf:   the fault
 * @first: unused: memview_map_cached() knows better
 * @last:  likewise
 *
 * Does what can be done without sleeping, and with only a VMA lock.
 *
 * Return: as ->map_pages: 0 if ->fault has to do it.
 */
static vm_fault_t memview_map_pages(struct vm_fault *vmf, pgoff_t first,
				    pgoff_t last)
{
	struct memview_vma *mv = vmf->vma->vm_private_data;
	struct memview_target target;
	struct memview *view;
	vm_fault_t ret = 0;

	if (!mv)
		return 0;
	view = mv->mapper->view;
	if (!down_read_trylock(&view->lock))
		return 0;
	if (mv->live && !memview_find(vmf, false, &target)) {
		ret = memview_map_cached(vmf, &target);
		if (ret) {
			memview_count_fault(&target);
			trace_memview_fault(memview_number(view), vmf, true,
					    ret);
		}
	}
	up_read(&view->lock);
	return ret;
}

/**
 * memview_huge_fault() - a mapper writes to a huge page that it may only read
 * @vmf:   the fault
 * @order: which kind of huge page
 *
 * Without it the core would clear the entry and ask ->fault.
 *
 * Return: as ->huge_fault.
 */
static vm_fault_t memview_huge_fault(struct vm_fault *vmf,
				     memview_huge_order order)
{
	vm_fault_t ret;

	/* The core asks before there is an entry, too. */
	if (order != MEMVIEW_HUGE_PMD || pmd_none(READ_ONCE(*vmf->pmd)))
		return VM_FAULT_FALLBACK;
	ret = memview_fault(vmf);
	if (ret == VM_FAULT_NOPAGE &&
	    pmd_same(vmf->orig_pmd, READ_ONCE(*vmf->pmd)))
		return VM_FAULT_FALLBACK;
	return ret;
}

#ifdef CONFIG_NUMA
/*
 * NUMA balancing would rebuild entries with what the whole VMA may do. A policy
 * without MPOL_F_MOF keeps it away; none would mean the task's.
 */
static struct mempolicy memview_policy = {
	.refcnt = ATOMIC_INIT(1),
	.mode = MPOL_LOCAL,
};

static struct mempolicy *memview_get_policy(MEMVIEW_POLICY_ARGS)
{
	return &memview_policy;
}
#endif

const struct vm_operations_struct memview_vm_ops = {
	.may_split = memview_vma_may_split,
	.open = memview_vma_open,
	.close = memview_vma_close,
	.mremap = memview_vma_mremap,
	.mprotect = memview_vma_mprotect,
	.fault = memview_fault,
	.map_pages = memview_map_pages,
	.huge_fault = memview_huge_fault,
	.page_mkwrite = memview_fault,
#ifdef CONFIG_NUMA
	.get_policy = memview_get_policy,
#endif
};
