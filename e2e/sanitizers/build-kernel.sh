#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
#   build-kernel.sh DIR
#
# Builds Debian's Linux 6.12 with KASAN, lockdep and the like (kernel.config) in DIR/build, once, and the driver for it in DIR/driver.
# An hour of CPU time, 5 GiB of disk.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kernel=$(cd "$here/../../kernel" && pwd)
dir=$1
package=linux-source-6.12

# shellcheck source=e2e/kernels/source.sh
. "$here/../kernels/source.sh"

mkdir -p "$dir"
cd "$dir"
key=$(apt-cache policy $package | sed -n 's/^  Candidate: //p') || true
[ -n "$key" ] || { echo "error: apt knows no $package" >&2; exit 1; }
key="$key $(sha256sum <"$here/kernel.config")"
if [ "$(cat begun 2>/dev/null)" != "$key" ]; then
	say "fetching $package"
	rm -rf begun built build
	apt-get -qq download $package
	unpack_source $package
	rm ${package}_*.deb
	say "configuring"
	configure_kernel "$here/kernel.config" KASAN PROVE_LOCKING DEBUG_VM PAGE_TABLE_CHECK DEBUG_LIST DEBUG_ATOMIC_SLEEP \
		DEBUG_KMEMLEAK FAILSLAB FAIL_PAGE_ALLOC FAULT_INJECTION_USERCOPY FAULT_INJECTION_DEBUG_FS \
		FAULT_INJECTION_STACKTRACE_FILTER KCOV EVENT_TRACING KVM_AMD VIRTIO_FS FUSE_PASSTHROUGH EXT4_FS XFS_FS BTRFS_FS \
		OVERLAY_FS ZRAM BLK_DEV_DM DM_FLAKEY MEMCG MEMORY_FAILURE HWPOISON_INJECT TRANSPARENT_HUGEPAGE USERFAULTFD IO_URING QUOTA
	echo "$key" >begun
fi
# Goes on where it was interrupted.
if [ ! -e built ]; then
	say "building"
	make -s -C source O="$dir/build" -j "$(nproc)" vmlinux modules_prepare
	cp build/vmlinux.symvers build/Module.symvers
	touch built
fi
say "building the driver"
rm -rf driver
mkdir driver
cp -r "$kernel"/*.c "$kernel"/*.h "$kernel/Kbuild" "$kernel/include" driver/
make -s -C build M="$dir/driver" KCOV_INSTRUMENT=y modules
