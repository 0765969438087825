#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Every check of the driver that needs no running kernel:
#
#   check.sh CACHE_DIR [KDIR...]
#
# KDIR...: kernel headers to build against (default: all below /lib/modules).
# In each: a build with W=1 where any message is an error, and sparse. Then
# builds against Debian 12's 6.1 headers and Debian 13's PREEMPT_RT ones,
# checkpatch --strict, and the selftests' own build. Runs as root on Debian 13
# (the rig's host root).

set -u
scripts=$(cd "$(dirname "$0")" && pwd)
cache=$1
shift
[ $# -gt 0 ] || set -- /lib/modules/*/build
number=0
failed=0

step() { # NAME COMMAND...
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$cache/step.log" 2>&1; then
		echo "ok $number - $name"
	else
		sed 's/^/# /' "$cache/step.log"
		echo "not ok $number - $name"
		failed=$((failed + 1))
	fi
}

selftests() {
	rm -rf "$cache/selftests" && mkdir -p "$cache/selftests" &&
		make -C "$scripts/../selftests" OUT="$cache/selftests" -j2
}

shell_syntax() {
	for file in "$scripts"/*.sh "$scripts"/../selftests/*.sh; do
		sh -n "$file" || return 1
	done
}

mkdir -p "$cache"
echo "TAP version 13"
step "what the checks need is here" sh "$scripts/fetch-lint.sh" "$cache"
for kdir; do
	version=$(basename "$(dirname "$(readlink -m "$kdir/.")")")
	[ -e "$kdir/include/config/kernel.release" ] &&
		version=$(cat "$kdir/include/config/kernel.release")
	step "build for $version, W=1" \
		sh "$scripts/build.sh" "$kdir" "$cache/build-$version"
	step "sparse for $version" \
		sh "$scripts/build.sh" "$kdir" "$cache/sparse-$version" sparse
done
step "build for Debian 12's 6.1" \
	sh "$scripts/build.sh" "$cache/headers-6.1/build" "$cache/build-6.1"
step "build for Debian 13's PREEMPT_RT kernel" \
	sh "$scripts/build.sh" "$cache/headers-rt/build" "$cache/build-rt"
step "checkpatch --strict" \
	sh "$scripts/checkpatch.sh" "$cache/checkpatch/checkpatch.pl"
step "selftests build without a warning" selftests
step "shell scripts parse" shell_syntax
echo "1..$number"
[ "$failed" = 0 ]
