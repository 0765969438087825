// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMA of an anchor: made by mmap, which checks the file, and then nobody's
 * to use.
 */
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>

#include "compat.h"
#include "memview.h"

/* munmap and mremap may have an anchor as a whole or not at all. */
static int memview_anchor_may_split(struct vm_area_struct *vma,
				    unsigned long addr)
{
	return -EINVAL;
}

static int memview_anchor_mremap(struct vm_area_struct *vma)
{
	return -EINVAL;
}

static int memview_anchor_mprotect(struct vm_area_struct *vma,
				   unsigned long start, unsigned long end,
				   unsigned long newflags)
{
	return -EACCES;
}

/*
 * In the place of the file's own. There is no ->fault, so an anchor stays
 * empty, and no ->close: FUSE's writes back, under the mmap lock; see
 * memview_anchor_release_work().
 */
static const struct vm_operations_struct memview_anchor_vm_ops = {
	.may_split = memview_anchor_may_split,
	.mremap = memview_anchor_mremap,
	.mprotect = memview_anchor_mprotect,
};

/*
 * Makes the VMA one that nobody can access, or do anything to but unmap it. It
 * has no special PFNs, and no entries at all, but to be taken for one that does
 * keeps madvise and others of this mm from invalidating it without a lock of
 * the file; see memview_anchor_invalidate(). (VM_MAYWRITE is counted in the
 * file's mapping and must stay.)
 */
static void memview_anchor_disarm(struct vm_area_struct *vma)
{
	/* As mprotect would. */
	if ((vma->vm_flags & (VM_EXEC | VM_WRITE)) == VM_EXEC)
		vma->vm_mm->exec_vm -= vma_pages(vma);
	vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP | VM_PFNMAP,
		     VM_READ | VM_WRITE | VM_EXEC | VM_MAYREAD | VM_MAYEXEC);
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	vma->vm_ops = &memview_anchor_vm_ops;
}

/*
 * Checks what mmap gave us, under the mmap lock, since another thread of this
 * mm may have put something else there, and takes the VMA's rights away.
 */
static int memview_anchor_adopt(struct memview_anchor *anchor,
				unsigned long pages)
{
	const unsigned long bad = VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB;
	unsigned long need = VM_MAYSHARE | VM_MAYREAD;
	struct mm_struct *mm = anchor->view->mm;
	struct vm_area_struct *vma;
	int ret = -EAGAIN;

	if (anchor->perm & MEMVIEW_MAP_WRITE)
		need |= VM_MAYWRITE;
	if (anchor->perm & MEMVIEW_MAP_EXEC)
		need |= VM_MAYEXEC;

	mmap_write_lock(mm);
	vma = find_vma(mm, anchor->addr);
	if (!vma || vma->vm_start != anchor->addr ||
	    vma_pages(vma) != pages || vma->vm_pgoff != anchor->pgoff ||
	    !vma->vm_file || READ_ONCE(anchor->dead))
		goto unlock;
	/* Overlayfs and FUSE passthrough put another file here. */
	if (!memview_fs_allowed(vma->vm_file) || (vma->vm_flags & bad) ||
	    !vma->vm_ops || !vma->vm_ops->fault) {
		ret = -EOPNOTSUPP;
		goto unlock;
	}
	ret = -EACCES;
	if ((vma->vm_flags & need) != need)
		goto unlock;
	if (anchor->vm_file)
		fput(anchor->vm_file);
	anchor->vm_file = get_file(vma->vm_file);
	anchor->vm_ops = vma->vm_ops;
	memview_anchor_disarm(vma);
	/* Pairs with memview_anchor_invalidate(). */
	smp_store_release(&anchor->mapping, anchor->vm_file->f_mapping);
	ret = 0;
unlock:
	mmap_write_unlock(mm);
	return ret;
}

/*
 * Maps the file at @anchor->addr, where there is room, and makes an anchor of
 * the VMA. The core checks the file for exactly the protection that is asked
 * for. After mlockall(MCL_FUTURE) it would also read all of the chunk in, so
 * let it check a single page then.
 */
static int memview_anchor_mmap_file(struct memview_anchor *anchor)
{
	unsigned long length = anchor->pages << PAGE_SHIFT;
	loff_t offset = (loff_t)anchor->pgoff << PAGE_SHIFT;
	unsigned long prot = PROT_READ;
	unsigned long addr;
	int ret;

	if (anchor->perm & MEMVIEW_MAP_WRITE)
		prot |= PROT_WRITE;
	if (anchor->perm & MEMVIEW_MAP_EXEC)
		prot |= PROT_EXEC;
	if (READ_ONCE(current->mm->def_flags) & VM_LOCKED) {
		addr = vm_mmap(anchor->file, anchor->addr, PAGE_SIZE, prot,
			       MAP_SHARED | MAP_FIXED, offset);
		if (IS_ERR_VALUE(addr))
			return addr;
		ret = memview_anchor_adopt(anchor, 1);
		if (ret)
			return ret;
		prot = PROT_NONE;
	}
	addr = vm_mmap(anchor->file, anchor->addr, length, prot,
		       MAP_SHARED | MAP_FIXED, offset);
	if (IS_ERR_VALUE(addr))
		return addr;
	ret = mmu_interval_notifier_insert(&anchor->notifier, current->mm,
					   anchor->addr, length,
					   &memview_anchor_ops);
	if (ret)
		return ret;
	/* It may only have been queued; wait until it works. */
	mmu_interval_read_begin(&anchor->notifier);
	ret = memview_anchor_adopt(anchor, anchor->pages);
	if (ret)
		mmu_interval_notifier_remove(&anchor->notifier);
	return ret;
}

/**
 * memview_anchor_mmap() - make an anchor's VMA and its notifier
 * @data: the anchor, of which @view, @file, @pgoff, @pages and @perm are set
 *
 * Until the VMA is an anchor, a page of nothing on both sides keeps the core
 * from merging it with another mapping of the file.
 *
 * Context: in the view's mm. Sleeps, possibly for as long as a file system's
 * ->mmap.
 * Return: 0 or what mmap returned, EAGAIN (somebody else has unmapped it),
 * EOPNOTSUPP (kind of file) or EACCES.
 */
int memview_anchor_mmap(void *data)
{
	struct memview_anchor *anchor = data;
	unsigned long length = anchor->pages << PAGE_SHIFT;
	unsigned long room;
	int ret;

	room = vm_mmap(NULL, 0, length + 2 * PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 0);
	if (IS_ERR_VALUE(room))
		return room;
	anchor->addr = room + PAGE_SIZE;
	ret = memview_anchor_mmap_file(anchor);
	if (!ret) {
		vm_munmap(room, PAGE_SIZE);
		vm_munmap(anchor->addr + length, PAGE_SIZE);
	} else if (!READ_ONCE(anchor->dead)) {
		vm_munmap(room, length + 2 * PAGE_SIZE);
	}
	return ret;
}
