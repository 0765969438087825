#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the addon with AddressSanitizer and UBSan and runs its tests on that build. Leak checking stays off: Node
# itself leaves memory behind at exit. What goes through a program instruction by instruction is left out: the sanitizers'
# own instructions take minutes, and change none of what it finds.
set -eu
cd "$(dirname "$0")/../.."
make -s -C native -j "$(nproc)" asan
runtime=$("${CXX:-g++}" -print-file-name=libasan.so)
[ -e "$runtime" ] || { echo "run-asan: no libasan.so for ${CXX:-g++}; install libasan" >&2; exit 1; }
exec env LD_PRELOAD="$runtime" NODE_OPTIONS=--conditions=asan \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
  node node_modules/vitest/vitest.mjs run --project native --exclude '**/take-over.test.ts' "$@"
