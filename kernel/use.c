// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much of a view is in use: faults, and entries of mappers' page tables.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "memview.h"

/* The page table's entry in the level above, or NULL. */
static pmd_t *memview_pmd(struct mm_struct *mm, unsigned long address)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	return pud_none(*pud) ? NULL : pmd_offset(pud, address);
}

/* Adds what @mm has from @start to @end, within one page table. */
static void memview_count_table(struct mm_struct *mm, pmd_t *pmd,
				unsigned long start, unsigned long end,
				struct memview_use *use)
{
	spinlock_t *lock = pmd_lock(mm, pmd);
	pte_t *pte;

	if (pmd_trans_huge(*pmd)) {
		use->mapped += end - start;
		use->huge += end - start;
	} else if (pmd_present(*pmd)) {
		/* While the pmd is locked, nobody frees the table. */
		pte = pte_offset_kernel(pmd, start);
		for (; start < end; start += PAGE_SIZE, pte++)
			if (pte_present(ptep_get(pte)))
				use->mapped += PAGE_SIZE;
	}
	spin_unlock(lock);
}

/*
 * Adds what all mappers have of pages @first to @last. The view is locked: so
 * long the page tables of VMAs that are live stay.
 */
static void memview_count_mappers(struct memview *view, unsigned long first,
				  unsigned long last, struct memview_use *use)
{
	struct interval_tree_node *node;

	for (node = interval_tree_iter_first(&view->vmas, first, last); node;
	     node = interval_tree_iter_next(node, first, last)) {
		struct memview_vma *mv =
			container_of(node, struct memview_vma, node);
		struct mm_struct *mm = mv->mapper->notifier.mm;
		unsigned long low = max(first, node->start) - node->start;
		unsigned long high = min(last, node->last) - node->start;
		unsigned long start = mv->start + (low << PAGE_SHIFT);
		unsigned long end = mv->start + ((high + 1) << PAGE_SHIFT);
		unsigned long next;

		for (; mv->live && start < end; start = next) {
			pmd_t *pmd = memview_pmd(mm, start);

			next = pmd_addr_end(start, end);
			if (pmd)
				memview_count_table(mm, pmd, start, next, use);
		}
	}
}

/**
 * memview_get_use() - MEMVIEW_GET_USE
 * @view:  the view
 * @first: first page
 * @last:  last page, inclusive
 * @use:   to fill, but for its range
 *
 * Looks at a page table at a time, so that nobody waits for it long.
 *
 * Return: 0, or EINTR for who is being killed.
 */
int memview_get_use(struct memview *view, unsigned long first,
		    unsigned long last, struct memview_use *use)
{
	unsigned long page = first, end;

	for (; page <= last; page = end + 1) {
		struct memview_segment *segment;

		if (fatal_signal_pending(current))
			return -EINTR;
		down_read(&view->lock);
		segment = memview_segment_first(&view->tree, page, last);
		if (!segment) {
			up_read(&view->lock);
			break;
		}
		page = max(page, segment->first);
		end = min3(segment->last, last, page | (PTRS_PER_PTE - 1));
		if (page == max(first, segment->first))
			use->faults += atomic_long_read(&segment->faults);
		if (segment->touched)
			memview_count_mappers(view, page, end, use);
		up_read(&view->lock);
		cond_resched();
	}
	return 0;
}
