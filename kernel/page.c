// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages that a view shows, as their files give them: from the cache, read,
 * and made writable.
 */
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "entry.h"

/**
 * memview_get_page() - the page of @target from its file, locked
 * @vmf:    the fault in the mapper
 * @target: what it is about, with a reference on its file
 * @page:   the page, with a reference
 *
 * Return: 0 or MAJOR with a page; else what the fault shall return. With RETRY
 * the fault's lock was dropped, as the core's protocol allows.
 */
vm_fault_t memview_get_page(struct vm_fault *vmf,
			    const struct memview_target *target,
			    struct page **page)
{
	struct vm_area_struct vma;
	struct vm_fault inner = memview_inner(vmf, target, &vma, false);
	vm_fault_t ret;

	ret = target->vm_ops->fault(&inner);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		return ret;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(inner.page);
	if (unlikely(PageHWPoison(inner.page))) {
		unlock_page(inner.page);
		put_page(inner.page);
		return VM_FAULT_HWPOISON;
	}
	*page = inner.page;
	return ret & VM_FAULT_MAJOR;
}

/**
 * memview_read_page() - have the page of @target read, for the next try
 * @vmf:    the fault in the mapper, which has only a VMA lock
 * @target: what it is about, with a reference on its file
 *
 * A file's handler can't drop a VMA lock while it waits for the disk. So that
 * is dropped here, and the handler called with the mmap lock, which it can
 * drop. The caller will find the page in the cache when it asks again, as it
 * had to in any case after a wait; errors are met then, too.
 *
 * Context: nothing that the VMA lock protects may be used after this.
 * Return: RETRY, and MAJOR if the page was read.
 */
vm_fault_t memview_read_page(struct vm_fault *vmf,
			     const struct memview_target *target)
{
	struct vm_area_struct vma;
	struct vm_fault inner = memview_inner(vmf, target, &vma, false);
	vm_fault_t ret;

	/* Not @vmf's page table, which may go with the lock. */
	inner.flags = vmf->flags & ~(FAULT_FLAG_VMA_LOCK |
				     FAULT_FLAG_ORIG_PTE_VALID);
	release_fault_lock(vmf);
	if (mmap_read_lock_killable(vma.vm_mm))
		return VM_FAULT_RETRY;
	ret = target->vm_ops->fault(&inner);
	if (!(ret & VM_FAULT_RETRY)) {
		mmap_read_unlock(vma.vm_mm);
		if (ret & VM_FAULT_LOCKED)
			unlock_page(inner.page);
		if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE)))
			put_page(inner.page);
	}
	return VM_FAULT_RETRY | (ret & VM_FAULT_MAJOR);
}

/**
 * memview_page_valid() - does a page belong where a target says?
 * @page:   locked
 * @target: what a fault is about
 *
 * Return: whether it has not been taken from its file.
 */
bool memview_page_valid(struct page *page, const struct memview_target *target)
{
	struct folio *folio = page_folio(page);

	return folio->mapping == target->mapping &&
	       folio->index + folio_page_idx(folio, page) == target->index;
}

/**
 * memview_take_cached() - the page of @target from the cache
 * @target: what a fault is about
 *
 * As fault-around, without asking the file.
 *
 * Context: the view is locked; does not sleep.
 * Return: the page, locked and with a reference; NULL if it is not there, or
 * somebody else has it locked.
 */
struct page *memview_take_cached(const struct memview_target *target)
{
	struct folio *folio = filemap_get_folio(target->mapping, target->index);
	struct file_ra_state *ra = &target->file->f_ra;
	struct page *page;

	if (IS_ERR_OR_NULL(folio))
		return NULL;
	if (folio_test_readahead(folio) || !folio_trylock(folio))
		goto put;
	page = folio_file_page(folio, target->index);
	if (!memview_page_valid(page, target) || !folio_test_uptodate(folio) ||
	    PageHWPoison(page) ||
	    target->index >= DIV_ROUND_UP(i_size_read(target->mapping->host),
					  PAGE_SIZE))
		goto unlock;
	/* Read-around is given up when hits do not outweigh misses. */
	if (READ_ONCE(ra->mmap_miss))
		WRITE_ONCE(ra->mmap_miss, ra->mmap_miss - 1);
	return page;
unlock:
	folio_unlock(folio);
put:
	folio_put(folio);
	return NULL;
}

/**
 * memview_make_writable() - ask the file for permission to write to a folio
 * @inner:  for that fault, from memview_inner()
 * @page:   of the folio; locked before and after, but not meanwhile
 * @target: what the fault is about
 *
 * Return: 0, or what the fault shall return; @page is not locked then.
 */
vm_fault_t memview_make_writable(struct vm_fault *inner, struct page *page,
				 const struct memview_target *target)
{
	vm_fault_t ret;

	inner->flags = FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE;
	inner->page = page;
	unlock_page(page);
	if (IS_SWAPFILE(target->mapping->host))
		return VM_FAULT_SIGBUS;
	ret = target->vm_ops->page_mkwrite(inner);
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))
		return ret & VM_FAULT_ERROR ? ret : VM_FAULT_NOPAGE;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(page);
	return 0;
}
