#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs and builds what the fuzzers need, then runs them: sh server/fuzz/run.sh [SECONDS] [--keep] [--only=TARGET]
set -eu

cd "$(dirname "$0")/../.."
. e2e/setup.sh

require_machine
install_packages clang libclang-rt-dev
install_npm_packages
build
run_logged build-asan make -s -C native -j "$(nproc)" asan
run_logged build-fuzz make -s -C native -j "$(nproc)" fuzz
exec node --enable-source-maps dist/server/fuzz/main.js "$@"
