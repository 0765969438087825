#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# checkpatch --strict over the driver and its selftests:
#
#   checkpatch.sh CHECKPATCH.PL
#
# What is ignored, and why:
#   driver and selftests
#     FILE_PATH_CHANGES, MAINTAINERS: there is no tree with a MAINTAINERS file
#   compat.h alone
#     LINUX_VERSION_CODE: telling versions apart is all that it is for
#     CONSTANT_COMPARISON: it takes KERNEL_VERSION(...) in a #if for a constant
#       on the left
#   trace.h alone
#     OPEN_ENDED_LINE, PARENTHESIS_ALIGNMENT: how every TRACE_EVENT() is written
#   announcement.h alone
#     MACRO_ARG_REUSE: the name of a variable that is defined
#   selftests, which are user space
#     MACRO_ARG_REUSE, MACRO_WITH_FLOW_CONTROL: the TEST() and CHECK() macros of
#       a harness define functions and end tests
#     PREFER_KERNEL_TYPES, PREFER_DEFINED_ATTRIBUTE_MACRO: user space has
#       uint64_t and __attribute__
#     AVOID_EXTERNS, VOLATILE: constructors; memory that others change
#     LONG_LINE_STRING: messages stay whole, so that they can be searched for
#     EMBEDDED_FUNCTION_NAME: names of files below /proc
#     ENOSYS: FUSE's answer to an operation that a server does not have

set -u
checkpatch=$1
kernel=$(cd "$(dirname "$0")/.." && pwd)
cd "$kernel" || exit 1
failed=0

check() { # IGNORED FILES...
	ignored=$1
	shift
	for file; do
		if ! out=$(perl "$checkpatch" --no-tree --strict --terse --file \
			--no-summary --show-types --ignore "$ignored" "$file" 2>&1); then
			echo "$out"
			failed=1
		fi
	done
}

common=FILE_PATH_CHANGES,MAINTAINERS
for file in *.c *.h include/uapi/linux/*.h; do
	case $file in
	*.mod.c) ;;
	compat.h) check "$common,LINUX_VERSION_CODE,CONSTANT_COMPARISON" "$file" ;;
	announcement.h) check "$common,MACRO_ARG_REUSE" "$file" ;;
	trace.h) check "$common,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT" "$file" ;;
	*) check "$common" "$file" ;;
	esac
done
check "$common,MACRO_ARG_REUSE,MACRO_WITH_FLOW_CONTROL,PREFER_KERNEL_TYPES,PREFER_DEFINED_ATTRIBUTE_MACRO,AVOID_EXTERNS,VOLATILE,LONG_LINE_STRING,EMBEDDED_FUNCTION_NAME,ENOSYS" \
	selftests/*.c selftests/*.h
exit $failed
