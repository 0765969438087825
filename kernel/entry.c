// SPDX-License-Identifier: GPL-2.0-only
/*
 * How entries come into the page tables of a view's mappers. With the view
 * locked throughout, so that nobody clears them meanwhile.
 *
 * The core does all that it lets us ask for: it maps what is cached, and
 * inserts pages of a folio that is locked. It takes a VMA for that, which is
 * not the mapper's, but a stand-in: a VMA of the file that is shown.
 */
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <asm/pgalloc.h>

#include "compat.h"
#include "entry.h"

/* Pages that are mapped around a fault, or inserted, at a time. */
#define MEMVIEW_BATCH		16UL

/**
 * memview_inner() - the fault that a mapper would have without us
 * @vmf:      the fault in the mapper
 * @target:   what it is about
 * @vma:      stand-in to set up: the part around the fault that shows one file
 * @writable: entries shall be writable
 *
 * To call the file's own handlers, which see a VMA of their file in the
 * mapper's mm, and to insert entries with a protection of their own.
 *
 * Return: the fault. Its handler may drop the mmap lock, if @vmf's may, but not
 * a VMA lock: it would drop the stand-in's. Nor may it see that the task is to
 * be killed, since it drops the lock then.
 */
struct vm_fault memview_inner(const struct vm_fault *vmf,
			      const struct memview_target *target,
			      struct vm_area_struct *vma, bool writable)
{
	unsigned long advice = VM_SEQ_READ | VM_RAND_READ | VM_NOHUGEPAGE;
	unsigned long before = target->page - target->low;
	unsigned long after = target->high - target->page;
	unsigned long flags = vmf->vma->vm_flags;
	unsigned long rights = target->rights;

	/* It reads ahead in whole huge pages, which not all files can have. */
	if (mapping_large_folio_support(target->mapping))
		advice |= VM_HUGEPAGE;
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
			   (flags & advice));
	/*
	 * The rest of the flags may hold a protection key. Without VM_SHARED,
	 * vm_get_page_prot() gives no permission to write.
	 */
	flags &= ~(VM_READ | VM_WRITE | VM_EXEC | VM_SHARED);
	flags |= rights | (writable ? VM_SHARED : 0);
	vma->vm_page_prot = vm_get_page_prot(flags);

	flags = vmf->flags;
	if (flags & FAULT_FLAG_VMA_LOCK)
		flags &= ~(FAULT_FLAG_VMA_LOCK | FAULT_FLAG_ALLOW_RETRY |
			   FAULT_FLAG_KILLABLE);
	return (struct vm_fault){
		.vma = vma,
		.gfp_mask = mapping_gfp_mask(target->mapping) | __GFP_FS |
			    __GFP_IO,
		.pgoff = target->index,
		.address = vmf->address,
		.real_address = vmf->real_address,
		.flags = flags,
		.pmd = vmf->pmd,
	};
}

/*
 * Must come before there are entries to clear. Somebody who clears mappings of
 * a page, and has it locked as all must who rely on the result, either comes
 * before us, and the page is no longer the file's, or sees this.
 */
static void memview_touch(struct memview_segment *segment)
{
	if (!segment->touched)
		WRITE_ONCE(segment->touched, true);
	if (segment->swept)
		WRITE_ONCE(segment->swept, false);
}

/*
 * Maps what is cached of @before pages before a fault to @after behind it. The
 * core does it, as for a mapping of the file: a huge page with one entry, where
 * there are no others yet, and only folios that it can lock at once.
 */
static vm_fault_t memview_map_around(struct vm_fault *vmf,
				     const struct memview_target *target,
				     unsigned long before, unsigned long after)
{
	struct vm_area_struct vma;
	struct vm_fault inner = memview_inner(vmf, target, &vma, target->quiet);
	vm_fault_t ret;

	before = min(before, target->page - target->low);
	after = min(after, target->high - target->page);
	memview_touch(target->segment);
	inner.flags &= FAULT_FLAG_TRIED;
	inner.prealloc_pte = vmf->prealloc_pte;
	ret = filemap_map_pages(&inner, target->index - before,
				target->index + after);
	vmf->prealloc_pte = inner.prealloc_pte;
	return ret;
}

/**
 * memview_map_cached() - map what is cached around a fault
 * @vmf:    the fault in the mapper
 * @target: what it is about
 *
 * Context: the view is locked.
 * Return: NOPAGE if @target's page is among them, else 0.
 */
vm_fault_t memview_map_cached(struct vm_fault *vmf,
			      const struct memview_target *target)
{
	unsigned long before = pte_index(vmf->address) & (MEMVIEW_BATCH - 1);

	return memview_map_around(vmf, target, before,
				  MEMVIEW_BATCH - 1 - before);
}

/**
 * memview_map_folio() - map a folio that nobody has locked, to be read
 * @vmf:    the fault in the mapper
 * @folio:  the folio that @target's page is of
 * @target: what the fault is about
 *
 * What can be written to must be locked, so that this is a first half only; but
 * the core does it for many pages at once, which it does not let us.
 *
 * Context: the view is locked.
 */
void memview_map_folio(struct vm_fault *vmf, struct folio *folio,
		       const struct memview_target *target)
{
	memview_map_around(vmf, target, target->index - folio->index,
			   folio_next_index(folio) - 1 - target->index);
}

/**
 * memview_fits_huge() - is there room for one entry?
 * @folio:  folio of the file
 * @target: what a fault is about: a page of it
 *
 * Return: whether @folio and its place in the view are huge and aligned.
 */
bool memview_fits_huge(struct folio *folio, const struct memview_target *target)
{
	unsigned long first = target->index - (target->page - target->low);

	return folio_order(folio) == HPAGE_PMD_ORDER &&
	       target->high - target->low == PTRS_PER_PTE - 1 &&
	       IS_ALIGNED(first, PTRS_PER_PTE);
}

/* Gives the pmd the page table that the core has brought for it. */
static void memview_install_table(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *lock = pmd_lock(mm, vmf->pmd);

	if (pmd_none(*vmf->pmd) && vmf->prealloc_pte) {
		mm_inc_nr_ptes(mm);
		smp_wmb(); /* the table is empty for whoever finds it */
		pmd_populate(mm, vmf->pmd, vmf->prealloc_pte);
		vmf->prealloc_pte = NULL;
	}
	spin_unlock(lock);
}

/*
 * Maps @count pages of a locked folio, from @page at @address on, but where
 * something is mapped, and but for those that are lost. Returns 0, EBUSY if
 * there were such, or what else vm_insert_pages() does.
 */
static int memview_insert_pages(struct vm_area_struct *vma,
				unsigned long address, struct page *page,
				unsigned long count)
{
	struct page *pages[MEMVIEW_BATCH];
	unsigned long done = 0;
	int ret, all = 0;

	if (count == 1 && !PageHWPoison(page))
		return vm_insert_page(vma, address, page);
	while (done < count) {
		unsigned long run = 0, left;

		while (run < min(count - done, MEMVIEW_BATCH) &&
		       !PageHWPoison(page + done + run)) {
			pages[run] = page + done + run;
			run++;
		}
		left = run;
		ret = run ? vm_insert_pages(vma, address + (done << PAGE_SHIFT),
					    pages, &left) : -EBUSY;
		if (ret && ret != -EBUSY)
			return ret;
		done += run - left + !!ret;
		all = all ?: ret;
	}
	return all;
}

/*
 * Makes entries of @count pages of a locked folio writable and dirty, from
 * @page at @address on. No TLB needs to forget what they were: it is still
 * right, and who is told less than is true asks again. Returns how many pages
 * had entries.
 */
static unsigned long memview_upgrade(struct vm_fault *vmf,
				     unsigned long address, struct page *page,
				     unsigned long count)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	pmd_t *pmd = vmf->pmd;
	spinlock_t *lock = pmd_lock(mm, pmd);
	unsigned long i, done = 0;
	pte_t *pte;

	if (pmd_none(*pmd))
		goto unlock;
	if (pmd_trans_huge(*pmd)) {
		if (pmd_page(*pmd) == compound_head(page)) {
			set_pmd_at(mm, address & PMD_MASK, pmd,
				   pmd_mkdirty(pmd_mkwrite_novma(*pmd)));
			done = count;
		}
		goto unlock;
	}
	/* While the pmd is locked, nobody frees the table. */
	if (MEMVIEW_SPLIT_PTE_PTLOCKS)
		spin_lock_nested(pte_lockptr(mm, pmd), SINGLE_DEPTH_NESTING);
	pte = pte_offset_kernel(pmd, address);
	for (i = 0; i < count; i++) {
		pte_t entry = ptep_get(pte + i);

		if (!pte_present(entry) || pte_page(entry) != page + i)
			continue;
		set_pte_at(mm, address + (i << PAGE_SHIFT), pte + i,
			   pte_mkdirty(pte_mkwrite_novma(entry)));
		done++;
	}
	if (MEMVIEW_SPLIT_PTE_PTLOCKS)
		spin_unlock(pte_lockptr(mm, pmd));
unlock:
	spin_unlock(lock);
	return done;
}

/**
 * memview_insert_folio() - map a page, and what else of its folio belongs there
 * @vmf:    the fault in the mapper
 * @inner:  the one of memview_inner(), writable if @write or @target is quiet
 * @page:   locked; may be written to, if @write
 * @target: what the fault is about; shows @page
 * @write:  the mapper is writing
 *
 * If one page of a folio may be written to, so may all: ->page_mkwrite and
 * folio_mark_dirty() are about folios.
 *
 * Context: the view is locked.
 * Return: NOPAGE, or SIGBUS for what can't be mapped.
 */
vm_fault_t memview_insert_folio(struct vm_fault *vmf, struct vm_fault *inner,
				struct page *page,
				const struct memview_target *target, bool write)
{
	struct folio *folio = page_folio(page);
	unsigned long before = 0, count = 1, address;
	unsigned int reclaim;
	int ret = -EBUSY;

	if (folio_test_large(folio) && !(write && memview_watched(vmf))) {
		before = min(target->index - folio->index,
			     target->page - target->low);
		count = before + min(folio_next_index(folio) - target->index,
				     target->high + 1 - target->page);
	}
	page -= before;
	address = vmf->address - (before << PAGE_SHIFT);

	memview_touch(target->segment);
	if (write && (count > 1 || vmf->page) &&
	    memview_upgrade(vmf, address, page, count) == count)
		return VM_FAULT_NOPAGE;
	if (count == PTRS_PER_PTE && memview_fits_huge(folio, target) &&
	    !folio_test_has_hwpoisoned(folio) &&
	    !(inner->vma->vm_flags & VM_NOHUGEPAGE))
		vmf_insert_folio_pmd(inner, folio, false);
	if (pmd_none(READ_ONCE(*vmf->pmd)))
		memview_install_table(vmf);
	if (!pmd_trans_huge(READ_ONCE(*vmf->pmd))) {
		/*
		 * The page table is there, unless MADV_DONTNEED has just freed
		 * it again. Reclaim could come back to us and wait for our own
		 * lock.
		 */
		reclaim = memalloc_noreclaim_save();
		ret = memview_insert_pages(inner->vma, address, page, count);
		memalloc_noreclaim_restore(reclaim);
	}
	/* New entries are writable, but not dirty as some want to see them. */
	if (write && (ret == -EBUSY || memview_watched(vmf)))
		memview_upgrade(vmf, address, page, count);
	return ret == -EINVAL ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}
