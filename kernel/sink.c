// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sink pages: what a mapper gets, under MEMVIEW_FAULT_SINK, where it would get
 * SIGBUS. To a VM a SIGBUS is the end, whatever the guest did to deserve it.
 *
 * A sink page belongs to one mapper and one page of the view. It is empty, or a
 * copy of what a file that can't be written to has there, and what is written
 * to it is lost. It must not hide data, so it goes
 *  - when its place is mapped or unmapped;
 *  - when the file becomes longer, or has been modified where it could not be
 *    read or written. watch.c tells of that at once, for most ways of doing it;
 *    for the others there is memview_sinks_poll();
 *  - after a moment where the file could not be read or written, since that may
 *    have changed unseen.
 *
 * The table is guarded by &memview.lock and changed with it held for write: this
 * is no path for speed. A fault puts its page into the table and then looks at
 * the file's size; who makes a file longer does so first and then has the table
 * looked at. So either the fault sees the new size or the page is found.
 */
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "compat.h"
#include "memview.h"

static unsigned int sink_pages_max = 4096;
module_param(sink_pages_max, uint, 0644);
MODULE_PARM_DESC(sink_pages_max, "Sink pages of a view; one more drops all");

/* How often files are looked at that sink pages lie beyond the end of. */
#define MEMVIEW_SINK_POLL	(HZ / 10)

/* How long a file is left alone that could not be read or written. */
#define MEMVIEW_SINK_ERROR	HZ

/**
 * struct memview_sink - one sink page
 * @node:    in &memview.sinks; start and last are the page of the view
 * @mapper:  whose it is
 * @page:    the page, with a reference
 * @error:   the file has this page, but failed
 * @copied:  @page has what the file has, which failed to take a write
 * @shown:   has been mapped
 * @lost:    has been mapped to be written to, with @error
 * @expires: jiffies, for @error
 *
 * An error may be that of a file, or of a state of it, that is history by the
 * time it is looked at. So it only puts @sink into the table, and the fault
 * starts again. If it ends with an error again and @sink is still there, then
 * nothing has changed meanwhile, and @sink is shown.
 */
struct memview_sink {
	struct interval_tree_node node;
	struct memview_mapper *mapper;
	struct page *page;
	bool error;
	bool copied;
	bool shown;
	bool lost;
	unsigned long expires;
};

static struct memview_sink *memview_sink_first(struct memview *view,
					       unsigned long first,
					       unsigned long last)
{
	struct interval_tree_node *node =
		interval_tree_iter_first(&view->sinks, first, last);

	return node ? container_of(node, struct memview_sink, node) : NULL;
}

static struct memview_sink *memview_sink_next(struct memview_sink *sink,
					      unsigned long first,
					      unsigned long last)
{
	struct interval_tree_node *node =
		interval_tree_iter_next(&sink->node, first, last);

	return node ? container_of(node, struct memview_sink, node) : NULL;
}

static void memview_sink_free(struct memview_sink *sink)
{
	if (!sink)
		return;
	if (sink->page)
		put_page(sink->page);
	kfree(sink);
}

/* Forgets one. Its entries are the caller's affair. */
static void memview_sink_remove(struct memview *view, struct memview_sink *sink)
{
	interval_tree_remove(&sink->node, &view->sinks);
	WRITE_ONCE(view->nr_sinks, view->nr_sinks - 1);
	memview_sink_free(sink);
}

/**
 * memview_sinks_remove() - forget the sink pages of a part of a view
 * @view:  the view
 * @first: first page
 * @last:  last page, inclusive
 *
 * Context: &memview.lock is held for write. The caller clears the entries.
 * Return: true if there were any.
 */
bool memview_sinks_remove(struct memview *view, unsigned long first,
			  unsigned long last)
{
	struct memview_sink *sink;
	bool any = false;

	while ((sink = memview_sink_first(view, first, last))) {
		memview_sink_remove(view, sink);
		any = true;
	}
	return any;
}

/**
 * memview_sinks_forget() - a mapper is gone, and its entries with it
 * @mapper: the mapper
 *
 * Context: &memview.lock is held for write.
 */
void memview_sinks_forget(struct memview_mapper *mapper)
{
	struct memview *view = mapper->view;
	struct memview_sink *sink, *next;

	for (sink = memview_sink_first(view, 0, ULONG_MAX); sink; sink = next) {
		next = memview_sink_next(sink, 0, ULONG_MAX);
		if (sink->mapper == mapper)
			memview_sink_remove(view, sink);
	}
}

/* Does the file behind @segment have what is shown at a page of the view? */
static bool memview_file_has(const struct memview_segment *segment,
			     unsigned long page)
{
	struct inode *inode = memview_anchor_of(segment)->mapping->host;

	return memview_segment_file_page(segment, page) <
	       DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);
}

/*
 * May the file have data by now where @sink is? @modified: the file that has
 * just been modified, or NULL.
 */
static bool memview_sink_stale(struct memview *view, struct memview_sink *sink,
			       const struct address_space *modified)
{
	unsigned long page = sink->node.start;
	struct memview_segment *segment =
		memview_segment_first(&view->tree, page, page);

	if (!segment)
		return false;
	if (sink->error)
		return time_after_eq(jiffies, sink->expires) ||
		       memview_anchor_of(segment)->mapping == modified;
	return memview_file_has(segment, page);
}

/* Drops what is stale. */
static void memview_sinks_drop_stale(struct memview *view,
				     const struct address_space *modified)
{
	struct memview_sink *sink, *next;

	memview_zap_begin(view);
	down_write(&view->lock);
	for (sink = memview_sink_first(view, 0, ULONG_MAX); sink; sink = next) {
		unsigned long page = sink->node.start;

		next = memview_sink_next(sink, 0, ULONG_MAX);
		if (!memview_sink_stale(view, sink, modified))
			continue;
		memview_sink_remove(view, sink);
		memview_zap(view, page, page);
	}
	up_write(&view->lock);
	memview_zap_end(view);
}

/* The same, if there is any. Returns true if there is something to poll for. */
static bool memview_sinks_review(struct memview *view,
				 const struct address_space *modified)
{
	bool stale = false, poll = false;
	struct memview_sink *sink;

	down_read(&view->lock);
	for (sink = memview_sink_first(view, 0, ULONG_MAX); sink;
	     sink = memview_sink_next(sink, 0, ULONG_MAX)) {
		unsigned long page = sink->node.start;

		stale = stale || memview_sink_stale(view, sink, modified);
		poll = poll || memview_segment_first(&view->tree, page, page);
	}
	up_read(&view->lock);
	if (stale)
		memview_sinks_drop_stale(view, modified);
	return poll;
}

/**
 * memview_sinks_modified() - a file that is shown was modified
 * @view:    the view, not closed
 * @mapping: of the file; not to be followed
 *
 * Context: may sleep, in a read-side section of fsnotify's SRCU. The file's
 * inode may be locked, as ftruncate() has it when it tells, and so may others:
 * all that is waited for here comes after a file system's locks ("Locks" in
 * memview.h). When this returns, no mapper sees a sink page where the file has
 * data.
 */
void memview_sinks_modified(struct memview *view,
			    const struct address_space *mapping)
{
	/* The new size is there; pairs with memview_sink_add(). */
	smp_mb();
	if (READ_ONCE(view->nr_sinks))
		memview_sinks_review(view, mapping);
}

/**
 * memview_sinks_poll() - look for what nobody tells us
 * @work: &memview.sink_poll
 */
void memview_sinks_poll(struct work_struct *work)
{
	struct memview *view = container_of(to_delayed_work(work),
					    struct memview, sink_poll);

	if (memview_sinks_review(view, NULL))
		schedule_delayed_work(&view->sink_poll, MEMVIEW_SINK_POLL);
}

/**
 * memview_set_fault_policy() - MEMVIEW_SET_FAULT_POLICY
 * @view:   the view
 * @policy: MEMVIEW_FAULT_*
 *
 * Return: 0, EINVAL (no such policy) or EBUSY (something has been mapped).
 */
int memview_set_fault_policy(struct memview *view, u64 policy)
{
	int ret = 0;

	if (policy != MEMVIEW_FAULT_SIGBUS && policy != MEMVIEW_FAULT_SINK)
		return -EINVAL;
	down_write(&view->lock);
	if (atomic64_read(&view->maps))
		ret = -EBUSY;
	else
		view->fault_policy = policy;
	up_write(&view->lock);
	return ret;
}

/* The sink page that a mapper has at @page, or NULL. */
static struct memview_sink *memview_sink_of(struct memview_mapper *mapper,
					    unsigned long page)
{
	struct memview_sink *sink;

	for (sink = memview_sink_first(mapper->view, page, page);
	     sink && sink->mapper != mapper;
	     sink = memview_sink_next(sink, page, page))
		;
	return sink;
}

/**
 * memview_is_sink() - is a page a sink page of the mapper?
 * @vmf: a fault for writing to vmf->page
 *
 * Return: true if so; it won't be a page of a file then.
 */
bool memview_is_sink(struct vm_fault *vmf)
{
	struct memview_vma *mv = vmf->vma->vm_private_data;
	struct memview *view = mv->mapper->view;
	struct memview_sink *sink;
	bool is;

	if (!READ_ONCE(view->nr_sinks))
		return false;
	down_read(&view->lock);
	sink = memview_sink_of(mv->mapper, vmf->pgoff);
	is = sink && sink->page == vmf->page;
	up_read(&view->lock);
	return is;
}

/* Charged to whoever faults, which is the mapper. */
static struct memview_sink *memview_sink_alloc(void)
{
	struct memview_sink *sink = kzalloc(sizeof(*sink), GFP_KERNEL_ACCOUNT);

	if (!sink)
		return NULL;
	sink->page = alloc_page(GFP_HIGHUSER | __GFP_ZERO | __GFP_ACCOUNT);
	if (sink->page)
		return sink;
	kfree(sink);
	return NULL;
}

/*
 * What a file that can't be written to has at the page of the view, into @page.
 * Returns false if that is not at hand.
 */
static bool memview_sink_copy(struct memview *view, unsigned long page,
			      struct page *to)
{
	struct memview_segment *segment;
	struct file *file = NULL;
	unsigned long index = 0;
	struct folio *folio;
	struct page *from;
	bool copied;

	down_read(&view->lock);
	segment = memview_segment_first(&view->tree, page, page);
	if (segment) {
		file = get_file(memview_anchor_of(segment)->vm_file);
		index = memview_segment_file_page(segment, page);
	}
	up_read(&view->lock);
	if (!file)
		return false;
	folio = filemap_lock_folio(file->f_mapping, index);
	fput(file);
	if (IS_ERR_OR_NULL(folio))
		return false;
	from = folio_file_page(folio, index);
	copied = folio_test_uptodate(folio) && !PageHWPoison(from);
	if (copied)
		copy_highpage(to, from);
	folio_unlock(folio);
	folio_put(folio);
	return copied;
}

/* Drops all, to make room. */
static void memview_sinks_drop(struct memview *view)
{
	struct memview_sink *sink;

	while ((sink = memview_sink_first(view, 0, ULONG_MAX))) {
		unsigned long page = sink->node.start;

		memview_sink_remove(view, sink);
		memview_zap(view, page, page);
	}
}

/*
 * Puts @sink into the table for @page, where @segment is or nothing is shown.
 */
static void memview_sink_add(struct memview *view,
			     struct memview_mapper *mapper,
			     struct memview_sink *sink, unsigned long page,
			     const struct memview_segment *segment)
{
	if (view->nr_sinks >= max(READ_ONCE(sink_pages_max), 1U))
		memview_sinks_drop(view);
	sink->mapper = mapper;
	sink->node.start = page;
	sink->node.last = page;
	interval_tree_insert(&sink->node, &view->sinks);
	WRITE_ONCE(view->nr_sinks, view->nr_sinks + 1);
	/* Pairs with memview_sinks_modified(). */
	smp_mb();
	sink->error = segment && memview_file_has(segment, page);
	sink->expires = jiffies + MEMVIEW_SINK_ERROR;
	if (segment)
		schedule_delayed_work(&view->sink_poll, MEMVIEW_SINK_POLL);
}

static void memview_sink_count(struct memview *view, struct memview_sink *sink,
			       bool write)
{
	if (!sink->shown) {
		sink->shown = true;
		atomic64_inc(&view->sinks_given);
		if (sink->error && !sink->copied)
			atomic64_inc(&view->read_errors);
	}
	if (write && sink->error && !sink->lost) {
		sink->lost = true;
		atomic64_inc(&view->lost_writes);
		WRITE_ONCE(view->lost_offset,
			   (u64)sink->node.start << PAGE_SHIFT);
	}
}

/* Puts an entry for @page where the fault is. The view is locked. */
static vm_fault_t memview_sink_insert(struct vm_fault *vmf, struct page *page,
				      bool writable)
{
	const unsigned long all = VM_READ | VM_WRITE | VM_EXEC | VM_SHARED;
	unsigned long flags = VM_READ;
	struct vm_area_struct vma = {
		.vm_mm = vmf->vma->vm_mm,
		.vm_start = vmf->address,
		.vm_end = vmf->address + PAGE_SIZE,
		.vm_pgoff = vmf->pgoff,
		.vm_ops = &memview_vm_ops,
	};
	unsigned int reclaim;
	int err;

	if (writable)
		flags |= VM_WRITE | VM_SHARED;
	INIT_LIST_HEAD(&vma.anon_vma_chain);
	vm_flags_init(&vma, VM_READ | VM_WRITE | VM_SHARED | VM_MAYSHARE |
			    VM_MIXEDMAP | VM_DONTEXPAND);
	/* The rest may hold a protection key. */
	vma.vm_page_prot =
		vm_get_page_prot((vmf->vma->vm_flags & ~all) | flags);

	memview_zap_fault(vmf);
	/* Reclaim could come back to us and wait for our own lock. */
	reclaim = memalloc_noreclaim_save();
	err = vm_insert_page(&vma, vmf->address, page);
	memalloc_noreclaim_restore(reclaim);
	if (!err || err == -EBUSY)
		return VM_FAULT_NOPAGE;
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

/*
 * The part of memview_sink_fault() with the view locked for write, and between
 * memview_zap_begin() and memview_zap_end(). Takes *@fresh if it needs it.
 */
static vm_fault_t memview_sink_locked(struct vm_fault *vmf,
				      struct memview_sink **fresh)
{
	struct memview_vma *mv = vmf->vma->vm_private_data;
	struct memview *view = mv->mapper->view;
	unsigned long page = vmf->pgoff;
	struct memview_segment *segment =
		memview_segment_first(&view->tree, page, page);
	bool writable = vmf->vma->vm_flags & VM_WRITE;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct memview_sink *sink;

	/* Where the view has ended, zeroes would pass for data. */
	if (view->fault_policy != MEMVIEW_FAULT_SINK ||
	    (segment && memview_anchor_of(segment)->dead))
		return VM_FAULT_SIGBUS;
	if (segment && !(segment->perm & MEMVIEW_MAP_WRITE))
		writable = false;
	if ((vmf->flags & FAULT_FLAG_INSTRUCTION) || (write && !writable))
		return VM_FAULT_SIGSEGV;

	sink = memview_sink_of(mv->mapper, page);
	if (sink && (*fresh)->copied && !sink->copied) {
		memview_sink_remove(view, sink);
		sink = NULL;
	}
	if (!sink) {
		sink = *fresh;
		*fresh = NULL;
		memview_sink_add(view, mv->mapper, sink, page, segment);
		if (sink->error)
			return VM_FAULT_NOPAGE;
	}
	/* The file may have become shorter since: that was no error. */
	if (!sink->shown && sink->error && !memview_file_has(segment, page))
		sink->error = false;
	memview_sink_count(view, sink, write);
	/* A write that is lost shall be seen. */
	return memview_sink_insert(vmf, sink->page,
				   writable && (write || !sink->error));
}

/**
 * memview_sink_fault() - a fault that would end with SIGBUS
 * @vmf:        the fault; its lock is still held
 * @unwritable: the file has the page but can't take a write to it
 *
 * Return: NOPAGE if there is a sink page now, or the fault shall start again;
 * SIGBUS if that is what the view's owner wants, or the view has ended; SIGSEGV
 * or OOM.
 */
vm_fault_t memview_sink_fault(struct vm_fault *vmf, bool unwritable)
{
	struct memview_vma *mv = vmf->vma->vm_private_data;
	struct memview *view = mv->mapper->view;
	vm_fault_t ret = VM_FAULT_NOPAGE;
	struct memview_sink *fresh;

	if (READ_ONCE(view->fault_policy) != MEMVIEW_FAULT_SINK)
		return VM_FAULT_SIGBUS;
	switch (memview_watch_file(view, vmf->pgoff)) {
	case 0:
		break;
	case 1:
		return VM_FAULT_NOPAGE;
	default:
		return VM_FAULT_OOM;
	}
	fresh = memview_sink_alloc();
	if (!fresh)
		return VM_FAULT_OOM;
	if (unwritable) {
		fresh->copied = memview_sink_copy(view, vmf->pgoff,
						  fresh->page);
		if (!fresh->copied)
			goto free;
	}

	memview_zap_begin(view);
	down_write(&view->lock);
	while (unlikely(!mv->live)) {
		up_write(&view->lock);
		if (!memview_vma_revive(mv)) {
			ret = VM_FAULT_SIGBUS;
			goto end;
		}
		down_write(&view->lock);
	}
	ret = memview_sink_locked(vmf, &fresh);
	up_write(&view->lock);
end:
	memview_zap_end(view);
free:
	memview_sink_free(fresh);
	return ret;
}
