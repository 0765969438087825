// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel does to the pages of a file that a view shows: what an
 * anchor's notifier tells, and what that means for the mappers.
 */
#include <linux/backing-dev.h>
#include <linux/pagemap.h>

#include "announcement.h"
#include "compat.h"
#include "memview.h"

/* After how many pages that were cleaned in order all of a segment is. */
#define MEMVIEW_CLEANED_RUN	8

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

const struct mmu_interval_notifier_ops memview_anchor_ops = {
	.invalidate = memview_anchor_invalidate,
};
