/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which part of a view shows which part of which file: a set of disjoint
 * segments, ordered by their place in the view, each also found by its place in
 * its file. Data structure only: nothing here locks, allocates or knows about
 * page tables.
 */
#ifndef _MEMORY_VIEW_SEGMENT_H
#define _MEMORY_VIEW_SEGMENT_H

#include <linux/atomic.h>
#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>

/**
 * struct memview_segment_group - the segments that show one file
 * @files: interval tree of &memview_segment.file; may overlap, since a view may
 *         show the same part of a file twice
 * @count: segments in @files
 */
struct memview_segment_group {
	struct rb_root_cached files;
	unsigned long count;
};

/**
 * struct memview_segment - one disjoint mapped range of a view
 * @node:    in the view's tree, ordered by @first
 * @file:    in &memview_segment_group.files; start and last are file pages
 * @gone:    on the list that memview_segment_carve() returns
 * @group:   what this segment shows a part of
 * @first:   first page, in pages of the view
 * @last:    last page, inclusive
 * @perm:    MEMVIEW_MAP_* bits
 * @touched: some mapper may have had a page table entry for it
 * @swept:   no mapper has had one since all were cleared
 * @faults:  how many were served; after a part was taken out of the middle, of
 *           what is before it
 */
struct memview_segment {
	struct rb_node node;
	struct interval_tree_node file;
	struct list_head gone;
	struct memview_segment_group *group;
	unsigned long first;
	unsigned long last;
	unsigned int perm;
	bool touched;
	bool swept;
	atomic_long_t faults;
};

/**
 * memview_segment_file_page() - the file page shown at a page of the view
 * @segment: segment that holds @page
 * @page:    page of the view
 *
 * Return: page index in the file.
 */
static inline unsigned long
memview_segment_file_page(const struct memview_segment *segment,
			  unsigned long page)
{
	return segment->file.start + (page - segment->first);
}

struct memview_segment *memview_segment_first(const struct rb_root *root,
					      unsigned long first,
					      unsigned long last);
void memview_segment_insert(struct rb_root *root,
			    struct memview_segment *segment);
bool memview_segment_carve(struct rb_root *root, unsigned long first,
			   unsigned long last, struct memview_segment *spare,
			   struct list_head *gone);

#endif /* _MEMORY_VIEW_SEGMENT_H */
