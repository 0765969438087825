// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults in a view. See "Theory of operation" in memview.h.
 */
#include <linux/backing-dev.h>
#include <linux/file.h>
#include <linux/mempolicy.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/writeback.h>

#include "compat.h"
#include "memview.h"

/* Pages around a read fault that are mapped with it if they are cached. */
#define MEMVIEW_AROUND		16UL

/**
 * struct memview_target - what a faulting address shows
 * @mv:      the VMA
 * @view:    the view; gone as soon as the VMA's lock is dropped
 * @file:    the file, with a reference
 * @mapping: of @file
 * @vm_ops:  of @file's mappings
 * @page:    page of the view
 * @index:   page of @file
 * @low:     first page of the view that can be mapped along with @page
 * @high:    last such page
 * @perm:    MEMVIEW_MAP_* of the segment
 * @changes: &memview.changes when this was looked up
 */
struct memview_target {
	struct memview_vma *mv;
	struct memview *view;
	struct file *file;
	struct address_space *mapping;
	const struct vm_operations_struct *vm_ops;
	unsigned long page;
	unsigned long index;
	unsigned long low;
	unsigned long high;
	unsigned int perm;
	unsigned long changes;
};

/**
 * struct memview_batch - locked pages that are about to be mapped
 * @pages:  by place, from &memview_target.low on; NULL where there is none
 * @folios: locked and referenced for @pages, each once
 * @count:  entries of @folios
 */
struct memview_batch {
	struct page *pages[MEMVIEW_AROUND];
	struct folio *folios[MEMVIEW_AROUND];
	unsigned int count;
};

/*
 * Looks up what @vmf is about. On success the target holds a reference on its
 * file.
 */
static vm_fault_t memview_lookup(struct vm_fault *vmf, bool write,
				 struct memview_target *target)
{
	struct vm_area_struct *vma = vmf->vma;
	struct memview_vma *mv = vma->vm_private_data;
	struct memview_segment *segment;
	struct memview_anchor *anchor;
	unsigned long around;
	vm_fault_t ret = 0;
	struct memview *view;

	if (!mv)
		return VM_FAULT_SIGBUS;
	view = mv->mapper->view;
	down_read(&view->lock);
	segment = memview_segment_first(&view->tree, vmf->pgoff, vmf->pgoff);
	if (!segment) {
		ret = VM_FAULT_SIGBUS;
		goto unlock;
	}
	anchor = memview_anchor_of(segment);
	if (anchor->dead) {
		ret = VM_FAULT_SIGBUS;
		goto unlock;
	}
	if ((write && !(segment->perm & MEMVIEW_MAP_WRITE)) ||
	    ((vmf->flags & FAULT_FLAG_INSTRUCTION) &&
	     !(segment->perm & MEMVIEW_MAP_EXEC))) {
		ret = VM_FAULT_SIGSEGV;
		goto unlock;
	}
	if (unlikely(xa_load(&view->poisoned, vmf->pgoff))) {
		ret = VM_FAULT_HWPOISON;
		goto unlock;
	}

	target->mv = mv;
	target->view = view;
	target->file = get_file(anchor->vm_file);
	target->mapping = anchor->mapping;
	target->vm_ops = anchor->vm_ops;
	target->page = vmf->pgoff;
	target->index = memview_segment_file_page(segment, vmf->pgoff);
	target->perm = segment->perm;
	target->changes = view->changes;

	/* An aligned block of addresses, within the VMA and the segment. */
	around = (vmf->address >> PAGE_SHIFT) & (MEMVIEW_AROUND - 1);
	around = min(around, (vmf->address - vma->vm_start) >> PAGE_SHIFT);
	around = min(around, vmf->pgoff - segment->first);
	target->low = vmf->pgoff - around;
	around = MEMVIEW_AROUND - 1 -
		 ((vmf->address >> PAGE_SHIFT) & (MEMVIEW_AROUND - 1));
	around = min(around,
		     (vma->vm_end - vmf->address - 1) >> PAGE_SHIFT);
	around = min(around, segment->last - vmf->pgoff);
	target->high = vmf->pgoff + around;
unlock:
	up_read(&view->lock);
	return ret;
}

/**
 * memview_template() - the VMA that a mapper would have without us
 * @vma:      stand-in to set up: the part around the fault that shows one file
 * @vmf:      the fault in the mapper
 * @target:   what it is about
 * @writable: entries shall be writable
 *
 * Serves two purposes: to call the file's own handlers, which see a VMA of
 * their file in the mapper's mm, and to insert entries with a protection of
 * their own: what the real VMA and the segment agree upon.
 */
static void memview_template(struct vm_area_struct *vma, struct vm_fault *vmf,
			     const struct memview_target *target, bool writable)
{
	const unsigned long all = VM_READ | VM_WRITE | VM_EXEC;
	unsigned long before = target->page - target->low;
	unsigned long after = target->high - target->page;
	unsigned long flags = vmf->vma->vm_flags;
	unsigned long rights = VM_READ;

	if (target->perm & MEMVIEW_MAP_WRITE)
		rights |= VM_WRITE;
	if (target->perm & MEMVIEW_MAP_EXEC)
		rights |= VM_EXEC;
	rights &= flags;

	memset(vma, 0, sizeof(*vma));
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	vma->vm_mm = vmf->vma->vm_mm;
	vma->vm_start = vmf->address - (before << PAGE_SHIFT);
	vma->vm_end = vmf->address + ((after + 1) << PAGE_SHIFT);
	vma->vm_pgoff = target->index - before;
	vma->vm_file = target->file;
	vma->vm_ops = target->vm_ops;
	vm_flags_init(vma, rights | VM_SHARED | VM_MAYSHARE | VM_MAYREAD |
			   VM_DONTEXPAND | VM_MIXEDMAP |
			   (rights & VM_WRITE ? VM_MAYWRITE : 0) |
			   (flags & (VM_SEQ_READ | VM_RAND_READ)));
	/*
	 * The rest of the flags may hold a protection key. Without VM_SHARED,
	 * vm_get_page_prot() gives no permission to write.
	 */
	flags = (flags & ~(all | VM_SHARED)) | rights;
	vma->vm_page_prot =
		vm_get_page_prot(writable ? flags | VM_SHARED : flags);
}

/**
 * memview_cached_page() - a page that can be mapped as it is
 * @mapping: of the file
 * @index:   page of the file
 * @have:    a folio that the caller has locked, or NULL
 *
 * Never sleeps.
 *
 * Return: the page, whose folio was locked and referenced unless it is @have;
 * NULL if it is not cached, being read, locked, lost or beyond the end.
 */
static struct page *memview_cached_page(struct address_space *mapping,
					unsigned long index, struct folio *have)
{
	struct folio *folio;
	struct page *page;

	rcu_read_lock();
	folio = xa_load(&mapping->i_pages, index);
	if (!folio || xa_is_value(folio))
		goto none;
	if (folio != have) {
		if (!folio_try_get(folio))
			goto none;
		if (unlikely(xa_load(&mapping->i_pages, index) != folio)) {
			folio_put(folio);
			goto none;
		}
	}
	rcu_read_unlock();

	if (folio != have && !folio_trylock(folio)) {
		folio_put(folio);
		return NULL;
	}
	if (folio->mapping != mapping || !folio_test_uptodate(folio) ||
	    index >= DIV_ROUND_UP(i_size_read(mapping->host), PAGE_SIZE))
		goto unlock;
	page = folio_file_page(folio, index);
	if (!PageHWPoison(page))
		return page;
unlock:
	if (folio != have) {
		folio_unlock(folio);
		folio_put(folio);
	}
	return NULL;
none:
	rcu_read_unlock();
	return NULL;
}

/*
 * Gets the page of @target, locked and referenced, in vmf->page. May drop the
 * fault's lock, as the core's protocol allows; @target->view is gone then.
 */
static vm_fault_t memview_get_page(struct vm_fault *vmf, bool write,
				   struct memview_target *target)
{
	const unsigned int pass =
		FAULT_FLAG_WRITE | FAULT_FLAG_ALLOW_RETRY |
		FAULT_FLAG_RETRY_NOWAIT | FAULT_FLAG_KILLABLE |
		FAULT_FLAG_TRIED | FAULT_FLAG_USER | FAULT_FLAG_REMOTE |
		FAULT_FLAG_INSTRUCTION | FAULT_FLAG_INTERRUPTIBLE;
	struct vm_area_struct vma;
	struct page *page;
	vm_fault_t ret;

	page = memview_cached_page(target->mapping, target->index, NULL);
	if (page && folio_test_readahead(page_folio(page))) {
		/* Time to read more; that is the file's business. */
		folio_unlock(page_folio(page));
		folio_put(page_folio(page));
		page = NULL;
	}
	if (page) {
		vmf->page = page;
		return VM_FAULT_LOCKED;
	}
	/*
	 * The file's handler may want to drop the lock, and would drop that of
	 * the stand-in. The mmap lock is that of the real VMA, too.
	 */
	if (vmf->flags & FAULT_FLAG_VMA_LOCK) {
		release_fault_lock(vmf);
		return VM_FAULT_RETRY;
	}

	memview_template(&vma, vmf, target, false);
	{
		struct vm_fault inner = {
			.vma = &vma,
			.gfp_mask = mapping_gfp_mask(target->mapping) |
				    __GFP_FS | __GFP_IO,
			.pgoff = target->index,
			.address = vmf->address,
			.real_address = vmf->real_address,
			.flags = vmf->flags & pass,
		};

		ret = target->vm_ops->fault(&inner);
		if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY |
			   VM_FAULT_DONE_COW))
			return ret;
		page = inner.page;
	}
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(page);
	ret |= VM_FAULT_LOCKED;
	if (unlikely(PageHWPoison(page))) {
		unlock_page(page);
		put_page(page);
		return VM_FAULT_HWPOISON;
	}
	vmf->page = page;
	return ret;
}

/* Does locked @page belong where @target says? */
static bool memview_page_valid(struct page *page,
			       const struct memview_target *target)
{
	struct folio *folio = page_folio(page);

	return folio->mapping == target->mapping &&
	       folio->index + folio_page_idx(folio, page) == target->index;
}

/*
 * Asks the file for permission to write to @page, which is locked before and
 * after, but not meanwhile.
 *
 * Return: 0, or what the fault shall return; @page is not locked then.
 */
static vm_fault_t memview_make_writable(struct vm_fault *vmf, struct page *page,
					const struct memview_target *target)
{
	struct vm_area_struct vma;
	vm_fault_t ret;

	if (!target->vm_ops->page_mkwrite)
		return 0;
	unlock_page(page);
	if (IS_SWAPFILE(target->mapping->host))
		return VM_FAULT_SIGBUS;
	memview_template(&vma, vmf, target, false);
	{
		struct vm_fault inner = {
			.vma = &vma,
			.gfp_mask = mapping_gfp_mask(target->mapping) |
				    __GFP_FS | __GFP_IO,
			.pgoff = target->index,
			.address = vmf->address,
			.real_address = vmf->real_address,
			.flags = FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE,
			.page = page,
		};

		ret = target->vm_ops->page_mkwrite(&inner);
	}
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		return ret & VM_FAULT_ERROR ? ret : VM_FAULT_NOPAGE;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(page);
	if (memview_page_valid(page, target))
		return 0;
	unlock_page(page);
	return VM_FAULT_NOPAGE;
}

/* Collects cached pages around @page, which the caller has locked. */
static void memview_collect(struct memview_batch *batch, struct page *page,
			    const struct memview_target *target)
{
	struct folio *have = page_folio(page);
	unsigned long at;

	batch->count = 0;
	for (at = target->low; at <= target->high; at++) {
		unsigned long index = target->index + (at - target->page);
		struct page **slot = &batch->pages[at - target->low];

		if (at == target->page) {
			/* By the time we are there, it may be behind us. */
			have = page_folio(page);
			*slot = page;
			continue;
		}
		*slot = memview_cached_page(target->mapping, index, have);
		if (*slot && page_folio(*slot) != have) {
			have = page_folio(*slot);
			batch->folios[batch->count++] = have;
		}
	}
}

static void memview_batch_release(struct memview_batch *batch)
{
	while (batch->count) {
		struct folio *folio = batch->folios[--batch->count];

		folio_unlock(folio);
		folio_put(folio);
	}
}

/*
 * Maps what @batch has around the page that has just been mapped. Places that
 * are taken are skipped, and so are those that must not come back to life.
 */
static void memview_insert_batch(struct vm_area_struct *vma,
				 struct memview_batch *batch,
				 const struct memview_target *target)
{
	unsigned long count = target->high - target->low + 1;
	unsigned long at;

	batch->pages[target->page - target->low] = NULL;
	if (unlikely(!xa_empty(&target->view->poisoned)))
		for (at = 0; at < count; at++)
			if (xa_load(&target->view->poisoned, target->low + at))
				batch->pages[at] = NULL;
	at = 0;
	while (at < count) {
		unsigned long run = 0, left;

		while (at + run < count && batch->pages[at + run])
			run++;
		left = run;
		if (run)
			vm_insert_pages(vma, vma->vm_start + (at << PAGE_SHIFT),
					&batch->pages[at], &left);
		at += run - left + 1;
	}
}

/* Is the view still what it was when @target was looked up? */
static struct memview_segment *
memview_recheck(const struct memview_target *target)
{
	struct memview *view = target->view;
	struct memview_segment *segment;
	struct memview_anchor *anchor;

	segment = memview_segment_first(&view->tree, target->page,
					target->page);
	if (!segment)
		return NULL;
	if (view->changes == target->changes)
		goto same;
	anchor = memview_anchor_of(segment);
	if (anchor->mapping != target->mapping ||
	    segment->perm != target->perm ||
	    segment->first > target->low || segment->last < target->high ||
	    memview_segment_file_page(segment, target->page) != target->index)
		return NULL;
same:
	if (memview_anchor_of(segment)->dead ||
	    xa_load(&view->poisoned, target->page))
		return NULL;
	return segment;
}

/**
 * memview_insert() - map a page, and perhaps its neighbours
 * @vmf:      the fault in the mapper
 * @page:     locked; belongs where @target says
 * @target:   what the fault is about
 * @write:    the mapper is writing: the entry is to be dirty, and one that only
 *            lets it read is to be replaced
 * @writable: entries are to let it write
 * @around:   map cached neighbours, too
 *
 * Sets &memview_segment.touched before there is anything to clear. Somebody who
 * clears mappings of a page, and has it locked as all must who rely on the
 * result, either comes before us, and the page is no longer valid, or sees it.
 *
 * Return: 0 if it is done, NOPAGE if the fault has to start again, or an error.
 */
static vm_fault_t memview_insert(struct vm_fault *vmf, struct page *page,
				 const struct memview_target *target,
				 bool write, bool writable, bool around)
{
	struct memview *view = target->view;
	struct memview_segment *segment;
	struct memview_batch batch;
	struct vm_area_struct vma;
	struct vm_fault inner = {
		.vma = &vma,
		.address = vmf->address,
	};
	unsigned int reclaim;
	vm_fault_t ret;

	memview_template(&vma, vmf, target, writable);
	batch.count = 0;
	if (around)
		memview_collect(&batch, page, target);

	down_read(&view->lock);
	while (unlikely(!target->mv->live)) {
		up_read(&view->lock);
		if (!memview_vma_revive(target->mv)) {
			ret = VM_FAULT_SIGBUS;
			goto release;
		}
		down_read(&view->lock);
	}
	segment = memview_recheck(target);
	if (unlikely(!segment)) {
		atomic64_inc(&view->retries);
		ret = VM_FAULT_NOPAGE;
		goto unlock;
	}
	if (!segment->touched)
		WRITE_ONCE(segment->touched, true);
	/*
	 * The page table is there, unless MADV_DONTNEED has just freed it
	 * again. Reclaim could come back to us and wait for our own lock.
	 */
	reclaim = memalloc_noreclaim_save();
	ret = vmf_insert_page_mkwrite(&inner, page, write);
	if (ret == VM_FAULT_NOPAGE) {
		ret = 0;
		if (around)
			memview_insert_batch(&vma, &batch, target);
	}
	memalloc_noreclaim_restore(reclaim);
unlock:
	up_read(&view->lock);
release:
	memview_batch_release(&batch);
	return ret;
}

/* For apply_to_page_range(), which allocates page tables on its way. */
static int memview_touch_pte(pte_t *pte, unsigned long addr, void *data)
{
	return 0;
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

/*
 * Second half of both handlers: maps @page, which is locked and referenced and
 * is released here.
 */
static vm_fault_t memview_finish(struct vm_fault *vmf, struct page *page,
				 struct memview_target *target, bool write)
{
	struct folio *folio = page_folio(page);
	bool mkwrite = target->vm_ops->page_mkwrite;
	bool dirtied = false;
	bool writable, quiet;
	vm_fault_t ret;

	if (!memview_page_valid(page, target)) {
		atomic64_inc(&target->view->retries);
		folio_unlock(folio);
		folio_put(folio);
		return VM_FAULT_NOPAGE;
	}
	if (write) {
		ret = memview_make_writable(vmf, page, target);
		if (ret) {
			folio_put(folio);
			return ret;
		}
		/* It may have been split while it was not locked. */
		folio = page_folio(page);
	}
	/*
	 * Without ->page_mkwrite and writeback nobody needs to know of writes
	 * before they are found in the entries' dirty bits.
	 */
	quiet = !mkwrite && !mapping_can_writeback(target->mapping);
	writable = write || (quiet && (target->perm & MEMVIEW_MAP_WRITE) &&
			     (vmf->vma->vm_flags & VM_WRITE));
	ret = memview_insert(vmf, page, target, write, writable,
			     !write || quiet);
	if (write && !ret)
		dirtied = folio_mark_dirty(folio);
	folio_unlock(folio);
	folio_put(folio);
	if (ret)
		return ret;

	atomic64_inc(&target->view->faults);
	if (write && !mkwrite)
		file_update_time(target->file);
	if (write && (dirtied || mkwrite))
		ret = memview_balance(vmf, target->mapping);
	return ret | VM_FAULT_NOPAGE;
}

/**
 * memview_fault() - a mapper touches a page that has no entry
 * @vmf: the fault
 *
 * Return: as ->fault; never with a page.
 */
vm_fault_t memview_fault(struct vm_fault *vmf)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct memview_target target;
	struct page *page;
	vm_fault_t ret, major;

	ret = memview_lookup(vmf, write, &target);
	if (ret == VM_FAULT_SIGBUS && vmf->vma->vm_private_data)
		return memview_sink_fault(vmf, false);
	if (ret)
		return ret;
	/* Before any page is locked: this may wait for writeback. */
	if (pmd_none(READ_ONCE(*vmf->pmd)) &&
	    apply_to_page_range(vmf->vma->vm_mm, vmf->address, PAGE_SIZE,
				memview_touch_pte, NULL)) {
		fput(target.file);
		return VM_FAULT_OOM;
	}

	ret = memview_get_page(vmf, write, &target);
	if (ret & VM_FAULT_RETRY)
		goto out;
	if (ret & VM_FAULT_ERROR) {
		/* It may be that of a file that is no longer shown. */
		down_read(&target.view->lock);
		if (target.view->changes != target.changes) {
			atomic64_inc(&target.view->retries);
			ret = VM_FAULT_NOPAGE;
		}
		up_read(&target.view->lock);
		if (ret == VM_FAULT_SIGBUS)
			ret = memview_sink_fault(vmf, false);
		goto out;
	}
	if (ret & VM_FAULT_NOPAGE)
		goto out;
	major = ret & VM_FAULT_MAJOR;
	page = vmf->page;
	vmf->page = NULL;
	ret = memview_finish(vmf, page, &target, write) | major;
	if (ret & VM_FAULT_SIGBUS)
		ret = memview_sink_fault(vmf, true);
out:
	fput(target.file);
	return ret;
}

/**
 * memview_page_mkwrite() - a mapper writes to a page that it may only read
 * @vmf: the fault; vmf->page is not locked
 *
 * Makes the entry writable under the view's lock, so that the core, which would
 * do it later, need not.
 *
 * Return: as ->page_mkwrite; never with the page locked.
 */
vm_fault_t memview_page_mkwrite(struct vm_fault *vmf)
{
	struct memview_target target;
	struct page *page = vmf->page;
	vm_fault_t ret;

	ret = memview_lookup(vmf, true, &target);
	if (ret == VM_FAULT_SIGBUS && vmf->vma->vm_private_data)
		return memview_sink_fault(vmf, false);
	if (ret)
		return ret;
	if (memview_is_sink(vmf)) {
		fput(target.file);
		return memview_sink_fault(vmf, false);
	}
	get_page(page);
	lock_page(page);
	ret = memview_finish(vmf, page, &target, true);
	if (ret & VM_FAULT_SIGBUS)
		ret = memview_sink_fault(vmf, true);
	fput(target.file);
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
	.page_mkwrite = memview_page_mkwrite,
#ifdef CONFIG_NUMA
	.get_policy = memview_get_policy,
#endif
};
