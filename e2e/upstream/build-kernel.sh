#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
#   build-kernel.sh DIR
#
# Builds Linux 7.3, from the linux-source-7.3_*.deb in DIR, with the patches of kernel/upstream and the driver of theirs as a module:
# DIR/build/vmlinux and DIR/build/drivers/misc/memview/memory_view.ko. Once; goes on where it was interrupted. Half an hour of CPU time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
patches=$(cd "$here/../../kernel/upstream" && pwd)
dir=$1
package=linux-source-7.3
# shellcheck source=e2e/kernels/source.sh
. "$here/../kernels/source.sh"

series=$(sed '/^#/d' "$patches/series")
cd "$dir"
# shellcheck disable=SC2086 # a list of names
key=$(echo ${package}_*.deb; (cd "$patches" && cat $series "$here/kernel.config") | sha256sum)
if [ "$(cat begun 2>/dev/null)" != "$key" ]; then
	rm -rf begun build
	say "unpacking $package"
	unpack_source $package
	for patch in $series; do
		say "applying $patch"
		patch -s -p1 -F0 -d source <"$patches/$patch"
	done
	say "configuring"
	configure_kernel "$here/kernel.config" PVH KVM_AMD VIRTIO_FS XFS_FS BTRFS_FS EXT4_FS OVERLAY_FS ZRAM MEMORY_FAILURE
	echo "$key" >begun
fi
say "building the kernel"
make -s -C source O="$PWD/build" -j "$(nproc)" vmlinux modules_prepare
cp build/vmlinux.symvers build/Module.symvers
say "building the driver"
make -s -C source O="$PWD/build" drivers/misc/memview/memory_view.ko
