#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds memory_view.ko against one kernel's headers, from a copy of the
# sources, and fails on any message of the compiler (W=1), of sparse or of
# modpost:
#
#   build.sh KDIR WORK_DIR [sparse]
#
# Leaves WORK_DIR/memory_view.ko and WORK_DIR/build.log.

set -eu
kdir=$1
work=$2
mode=${3:-}
kernel=$(cd "$(dirname "$0")/.." && pwd)

rm -rf "$work"
mkdir -p "$work"
for item in "$kernel"/*.[ch] "$kernel"/Kbuild "$kernel"/Makefile "$kernel"/include; do
	cp -r "$item" "$work/"
done

# Debian names the compiler that built the kernel; any later one will do.
set -- -C "$kdir" M="$work" W=1 CC=gcc HOSTCC=gcc
case $mode in
sparse) set -- "$@" C=2 CHECK="sparse -Wno-return-void" ;;
*) set -- "$@" KCFLAGS=-Werror ;;
esac
if ! make "$@" modules >"$work/build.log" 2>&1; then
	cat "$work/build.log"
	echo "build.sh: the build against $kdir failed" >&2
	exit 1
fi
# Not messages on our sources: which compiler built the kernel, and BTF, which
# needs the kernel's own vmlinux.
said=$(grep -E 'warning|WARNING|error|note:' "$work/build.log" |
	grep -vE 'the compiler differs from the one used|Skipping BTF|pahole version differs' || true)
if [ -n "$said" ]; then
	echo "$said"
	echo "build.sh: the build against $kdir has messages (${mode:-gcc})" >&2
	exit 1
fi
