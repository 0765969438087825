#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
#   build-kernel.sh DIR VARIANT
#
# Builds Linux 7.3, from the linux-source-7.3_*.deb in DIR, in DIR/build-VARIANT: vmlinux, modules.tar with what belongs into /lib/modules,
# and, to compare with, the driver of kernel/, which needs no patches, in driver/memory_view.ko. Builds only what has changed, and goes on
# where it was interrupted. Half an hour of CPU time, the first time. VARIANT is
#
#   debug      with the patches of kernel/upstream, and what looks for errors (debug.config)
#   plain      with the patches
#   unpatched  without them
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1
variant=$2
# shellcheck source=e2e/kernels/source.sh
. "$here/../kernels/source.sh"
# shellcheck source=e2e/upstream/sources.sh
. "$here/sources.sh"

cd "$dir"
unpack_pristine
tree=source
fragments=$here/kernel.config
needed="PVH VIRTIO_FS VIRTIO_BLK BLK_DEV_NVME EXT4_FS OVERLAY_FS BLK_DEV_LOOP DM_FLAKEY ZRAM MEMORY_FAILURE HWPOISON_INJECT TRANSPARENT_HUGEPAGE
	USERFAULTFD SECRETMEM IO_URING MEMCG QUOTA KVM=m KVM_AMD=m XFS_FS=m BTRFS_FS=m"
case $variant in
plain)
	needed="$needed MEMORY_VIEW=m"
	;;
debug)
	fragments="$fragments $here/debug.config"
	needed="$needed MEMORY_VIEW=m PROVE_LOCKING DEBUG_VM DEBUG_ATOMIC_SLEEP PAGE_TABLE_CHECK FAILSLAB FAULT_INJECTION_STACKTRACE_FILTER KCOV
		FS_DAX FUSE_DAX DAMON_PADDR"
	;;
unpatched)
	tree=pristine
	;;
*)
	echo "usage: $0 DIR debug|plain|unpatched" >&2
	exit 2
	;;
esac
[ $tree = pristine ] || patch_source

out=build-$variant
# shellcheck disable=SC2086 # lists of names
key=$(cat $fragments | sha256sum)
if [ "$(cat "$out/configured" 2>/dev/null)" != "$key" ]; then
	say "configuring"
	rm -f "$out/configured"
	mkdir -p "$out"
	# shellcheck disable=SC2086
	configure_kernel "$fragments" $needed
	echo "$key" >"$out/configured"
fi
say "building the kernel"
make -s -C $tree O="$PWD/$out" -j "$(nproc)" vmlinux modules
rm -rf root
make -s -C $tree O="$PWD/$out" INSTALL_MOD_PATH="$PWD/root" DEPMOD=true modules_install
tar -C root/lib/modules -cf "$out/modules.tar" .
rm -rf root
rm -rf "$out/driver"
mkdir "$out/driver"
cp -r "$here"/../../kernel/*.[ch] "$here/../../kernel/Kbuild" "$here/../../kernel/include" "$out/driver/"
make -s -C "$out" M="$PWD/$out/driver" modules
