/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a fault knows, what page.c gets for it, and what entry.c does with that
 * to mappers' page tables.
 */
#ifndef _MEMVIEW_ENTRY_H
#define _MEMVIEW_ENTRY_H

#include "memview.h"

/**
 * struct memview_target - what a faulting address shows
 * @mv:      the VMA
 * @view:    the view; gone as soon as the VMA's lock is dropped
 * @segment: valid while the view is locked
 * @file:    the file
 * @mapping: of @file
 * @vm_ops:  of @file's mappings
 * @page:    page of the view
 * @index:   page of @file
 * @low:     first page of the view that can be mapped along with @page
 * @high:    last such page: of the file, this segment, and one page table
 * @rights:  VM_READ, VM_WRITE and VM_EXEC, where VMA and segment agree
 * @quiet:   nobody needs to know of writes before they are found in the
 *           entries' dirty bits: neither the file nor, by its soft-dirty bits,
 *           user space
 * @changes: &memview.changes as it was
 * @size:    of the file, in bytes, as it was
 */
struct memview_target {
	struct memview_vma *mv;
	struct memview *view;
	struct memview_segment *segment;
	struct file *file;
	struct address_space *mapping;
	const struct vm_operations_struct *vm_ops;
	unsigned long page;
	unsigned long index;
	unsigned long low;
	unsigned long high;
	unsigned long rights;
	bool quiet;
	unsigned long changes;
	loff_t size;
};

/* Does user space watch what is written, by soft-dirty bits? */
static inline bool memview_watched(const struct vm_fault *vmf)
{
	return VM_SOFTDIRTY && !(vmf->vma->vm_flags & VM_SOFTDIRTY);
}

/* The view is locked. */
static inline void memview_count_fault(const struct memview_target *target)
{
	percpu_counter_inc(&target->view->faults);
	atomic_long_inc(&target->segment->faults);
}

/* page.c */
vm_fault_t memview_get_page(struct vm_fault *vmf,
			    const struct memview_target *target,
			    struct page **page);
vm_fault_t memview_read_page(struct vm_fault *vmf,
			     const struct memview_target *target);
bool memview_page_valid(struct page *page, const struct memview_target *target);
struct page *memview_take_cached(const struct memview_target *target);
vm_fault_t memview_make_writable(struct vm_fault *inner, struct page *page,
				 const struct memview_target *target);

/* entry.c */
struct vm_fault memview_inner(const struct vm_fault *vmf,
			      const struct memview_target *target,
			      struct vm_area_struct *vma, bool writable);
vm_fault_t memview_map_cached(struct vm_fault *vmf,
			      const struct memview_target *target);
void memview_map_folio(struct vm_fault *vmf, struct folio *folio,
		       const struct memview_target *target);
bool memview_fits_huge(struct folio *folio,
		       const struct memview_target *target);
vm_fault_t memview_insert_folio(struct vm_fault *vmf, struct vm_fault *inner,
				struct page *page,
				const struct memview_target *target,
				bool write);

#endif /* _MEMVIEW_ENTRY_H */
