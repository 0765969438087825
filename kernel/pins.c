// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of a range may still be used by a mapper after they were
 * unmapped, since the kernel holds pins on them for it.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/xarray.h>

#include "memview.h"

/* Pages @first to @last of a file that may be pinned. */
static unsigned long memview_file_pins(struct address_space *mapping,
				       unsigned long first, unsigned long last)
{
	XA_STATE(xas, &mapping->i_pages, first);
	unsigned long pins = 0;
	struct folio *folio;

	rcu_read_lock();
	xas_for_each(&xas, folio, last) {
		unsigned long low, high;

		if (xas_retry(&xas, folio) || xa_is_value(folio) ||
		    !folio_try_get(folio))
			continue;
		if (folio_maybe_dma_pinned(folio)) {
			low = max(folio->index, first);
			high = min(folio->index + folio_nr_pages(folio) - 1,
				   last);
			if (high >= low)
				pins += high - low + 1;
		}
		folio_put(folio);
		if (need_resched()) {
			xas_pause(&xas);
			rcu_read_unlock();
			cond_resched();
			rcu_read_lock();
		}
	}
	rcu_read_unlock();
	return pins;
}

/**
 * memview_pins() - pages of a part of a view that may be pinned
 * @view:  the view
 * @first: first page
 * @last:  last page, inclusive
 *
 * Counts pins by anybody, since they don't tell whose they are, but not mere
 * references (vmsplice), and may take many references for a pin.
 *
 * Context: &memview.lock is held, and mappers have no entries there any more,
 * so that none can be made to pin.
 * Return: pages.
 */
unsigned long memview_pins(struct memview *view, unsigned long first,
			   unsigned long last)
{
	struct memview_segment *segment;
	unsigned long pins = 0;

	for (segment = memview_segment_first(&view->tree, first, last);
	     segment && segment->first <= last;
	     segment = rb_entry_safe(rb_next(&segment->node),
				     struct memview_segment, node)) {
		unsigned long low = max(first, segment->first);
		unsigned long high = min(last, segment->last);
		unsigned long index = memview_segment_file_page(segment, low);

		if (segment->touched)
			pins += memview_file_pins(memview_anchor_of(segment)->mapping,
						  index, index + high - low);
	}
	return pins;
}
