// SPDX-License-Identifier: GPL-2.0-only
/*
 * The set of segments of a view. See segment.h.
 */
#include "segment.h"

/**
 * memview_segment_first() - the lowest segment that overlaps a part of the view
 * @root:  the view's segments
 * @first: first page of the part
 * @last:  last page of the part, inclusive
 *
 * Return: the segment, or NULL if the whole part is a hole.
 */
struct memview_segment *memview_segment_first(const struct rb_root *root,
					      unsigned long first,
					      unsigned long last)
{
	struct rb_node *node = root->rb_node;
	struct memview_segment *found = NULL;

	while (node) {
		struct memview_segment *segment =
			rb_entry(node, struct memview_segment, node);

		if (segment->last < first) {
			node = node->rb_right;
			continue;
		}
		if (segment->first <= last)
			found = segment;
		if (segment->first <= first)
			break;
		node = node->rb_left;
	}
	return found;
}

/**
 * memview_segment_insert() - add a segment
 * @root:  the view's segments
 * @segment: complete but for its tree links; must not overlap any in @root
 */
void memview_segment_insert(struct rb_root *root,
			    struct memview_segment *segment)
{
	struct rb_node **link = &root->rb_node;
	struct rb_node *parent = NULL;

	while (*link) {
		parent = *link;
		if (segment->first <
		    rb_entry(parent, struct memview_segment, node)->first)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&segment->node, parent, link);
	rb_insert_color(&segment->node, root);
	interval_tree_insert(&segment->file, &segment->group->files);
	segment->group->count++;
}

/* Takes @segment out of the interval tree while its bounds are changed. */
static void memview_segment_resize(struct memview_segment *segment,
				   unsigned long first, unsigned long last)
{
	unsigned long file_page = memview_segment_file_page(segment, first);

	interval_tree_remove(&segment->file, &segment->group->files);
	segment->first = first;
	segment->last = last;
	segment->file.start = file_page;
	segment->file.last = file_page + (last - first);
	interval_tree_insert(&segment->file, &segment->group->files);
}

/**
 * memview_segment_carve() - make a part of the view a hole
 * @root:  the view's segments
 * @first: first page of the hole
 * @last:  last page of the hole, inclusive
 * @spare: a segment for the case that the hole lies in the middle of one and
 *         leaves two; its contents do not matter
 * @gone:  segments that lay wholly inside are added here by &memview_segment.gone,
 *         with @group still set but no longer counted there
 *
 * Return: true if @spare now belongs to the set.
 */
bool memview_segment_carve(struct rb_root *root, unsigned long first,
			   unsigned long last, struct memview_segment *spare,
			   struct list_head *gone)
{
	struct memview_segment *segment;

	while ((segment = memview_segment_first(root, first, last))) {
		if (segment->first < first && segment->last > last) {
			unsigned long after = last + 1;

			spare->group = segment->group;
			spare->perm = segment->perm;
			spare->touched = segment->touched;
			spare->swept = segment->swept;
			atomic_long_set(&spare->faults, 0);
			spare->first = after;
			spare->last = segment->last;
			spare->file.start =
				memview_segment_file_page(segment, after);
			spare->file.last = segment->file.last;
			memview_segment_resize(segment, segment->first, first - 1);
			memview_segment_insert(root, spare);
			return true;
		}
		if (segment->first < first) {
			memview_segment_resize(segment, segment->first, first - 1);
		} else if (segment->last > last) {
			memview_segment_resize(segment, last + 1, segment->last);
		} else {
			rb_erase(&segment->node, root);
			interval_tree_remove(&segment->file,
					     &segment->group->files);
			segment->group->count--;
			list_add_tail(&segment->gone, gone);
		}
	}
	return false;
}
