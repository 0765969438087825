#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
#   check-series.sh DIR
#
# Each patch of kernel/upstream is as checkpatch.pl wants it, applies as it is to what is before it, and what it touches compiles then
# without a warning, with the driver as a module; with all of them, what they touch also compiles with the driver built in and without it, and without huge pages,
# NUMA, memory failure and what else the driver has conditions for. Needs the linux-source-7.3_*.deb in DIR. Minutes of CPU time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1
# shellcheck source=e2e/kernels/source.sh
. "$here/../kernels/source.sh"
# shellcheck source=e2e/upstream/sources.sh
. "$here/sources.sh"

cd "$dir"
unpack_pristine
key=$(cat unpacked "$here/check-series.sh" "$here/kernel.config" "$here/debug.config" && cd "$patches" && echo "$series" | xargs cat)
key=$(echo "$key" | sha256sum)
if [ "$(cat checked 2>/dev/null)" = "$key" ]; then
	echo "the series is what was checked before"
	exit
fi
rm -f checked

kernel() { # TARGET...
	make -s -C check O="$PWD/build-check" -j "$(nproc)" KCFLAGS=-Werror "$@"
}

# configure NAME=VALUE...: as for the selftests, but for these options.
configure() {
	printf 'CONFIG_%s\n' "$@" >options.config
	tree=check out=build-check configure_kernel "$here/kernel.config $here/debug.config $PWD/options.config"
	kernel prepare
}

# compile PATCH...: what these touch, if the configuration has it.
compile() {
	objects=$(patched_files "$@" | sed -n 's/\.c$/.o/p')
	grep -q '^CONFIG_TRANSPARENT_HUGEPAGE=y' build-check/.config || objects=$(echo "$objects" | grep -v '^mm/huge_memory\.o')
	# shellcheck disable=SC2086 # a list of names
	[ -z "$objects" ] || kernel $objects
}

# What checkpatch.pl is not asked for: functions as those around them are written, and TRACE_EVENT() as all are; that a patch before the one
# for MAINTAINERS makes files; a path in a header that it takes for a division.
IGNORED=PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE,FILE_PATH_CHANGES,SPACING

mkdir -p build-check
copy_source pristine check
say "checkpatch.pl"
for patch in $series; do
	(cd check && scripts/checkpatch.pl --strict --quiet --terse --ignore $IGNORED "$patches/$patch")
done
for patch in $series; do
	say "applying $patch, and compiling what it touches"
	apply_patch "$patch" check
	configure MEMORY_VIEW=m
	compile "$patch"
done
# The driver's configuration is no other file's affair, so there is nothing to compile without it.
if grep -rlw CONFIG_MEMORY_VIEW check/mm check/fs check/kernel check/include --include='*.[ch]'; then
	echo "error: these files depend on whether there is the driver" >&2
	exit 1
fi
say "compiling all that the patches touch, with the driver built in"
configure MEMORY_VIEW=y
# shellcheck disable=SC2086 # a list of names
compile $series
say "compiling all that the patches touch, in a kernel that has less"
configure MEMORY_VIEW=m TRANSPARENT_HUGEPAGE=n NUMA=n MEMORY_FAILURE=n MEM_SOFT_DIRTY=n FTRACE=n SWAP=n MEMCG=n PROVE_LOCKING=n DEBUG_VM=n \
	DEBUG_ATOMIC_SLEEP=n
# shellcheck disable=SC2086
compile $series
rm -rf check
echo "$key" >checked
