/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lockdep is told of announcements by mmu notifiers.
 *
 * It has one class for those of all mms and all events. Our callbacks clear
 * entries of mappers, which is announced to the mappers' notifiers: there are
 * announcements within announcements, and &memview.lock is taken within some and
 * held around others. See "Locks" in memview.h for why that is right. So each
 * callback puts a class of its own in the place of the core's for as long as it
 * works. All that is taken meanwhile, and within what is announced meanwhile, is
 * checked as everywhere else.
 */
#ifndef _MEMVIEW_ANNOUNCEMENT_H
#define _MEMVIEW_ANNOUNCEMENT_H

#include <linux/lockdep.h>
#include <linux/sched.h>
#include <linux/string.h>

#ifdef CONFIG_LOCKDEP

/* Defines a kind of announcement. */
#define MEMVIEW_ANNOUNCEMENT(kind)					\
	static struct lockdep_map kind =				\
		STATIC_LOCKDEP_MAP_INIT(#kind, &kind)

/**
 * memview_announcement_begin() - a callback begins to work
 * @kind: its kind of announcement
 *
 * Return: the core's class, which is no symbol that modules could use; NULL at
 * the end of a process, which is announced without.
 */
static inline struct lockdep_map *
memview_announcement_begin(struct lockdep_map *kind)
{
	struct lockdep_map *core = NULL;
	int i;

	for (i = current->lockdep_depth - 1; i >= 0 && !core; i--) {
		struct lockdep_map *held = current->held_locks[i].instance;

		if (!strcmp(held->name, "mmu_notifier_invalidate_range_start"))
			core = held;
	}
	if (core)
		lock_map_release(core);
	lock_map_acquire(kind);
	return core;
}

/**
 * memview_announcement_end() - and has done it
 * @kind: its kind of announcement
 * @core: what memview_announcement_begin() returned
 */
static inline void memview_announcement_end(struct lockdep_map *kind,
					    struct lockdep_map *core)
{
	lock_map_release(kind);
	if (core)
		lock_map_acquire(core);
}

#else

#define MEMVIEW_ANNOUNCEMENT(kind)	static struct lockdep_map kind

static inline struct lockdep_map *
memview_announcement_begin(struct lockdep_map *kind)
{
	return NULL;
}

static inline void memview_announcement_end(struct lockdep_map *kind,
					    struct lockdep_map *core)
{
}

#endif

#endif /* _MEMVIEW_ANNOUNCEMENT_H */
