#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Entry of `npm run quickstart`, `npm test`, `npm run docs`, `npm run package`, `npm run test:power-cuts`, `npm run test:move`, `npm run test:long` and `npm run bench:...` (guest, window, workloads, comparison, requests): brings a
# machine that has only Node, a C/C++ toolchain and root to where everything is built, then runs the command. Each step looks first and does only
# what is missing, so a second run is quick.
#
# Usage: sh e2e/run.sh quickstart|test|docs|dashboard|package|test-packages|sanitizers|upstream|bench-guest|bench-window|bench-workloads|bench-comparison|bench-sizing|bench-upstream|bench-requests|power-cuts|move|long-run [ARGUMENT...]
set -eu

cd "$(dirname "$0")/.."
. e2e/setup.sh

command=${1:?usage: sh e2e/run.sh quickstart|test|docs|dashboard|package|test-packages|sanitizers|upstream|bench-guest|bench-window|bench-workloads|bench-comparison|bench-sizing|bench-upstream|bench-requests|power-cuts|move|long-run [ARGUMENT...]}
shift

require_machine
install_system_packages
install_npm_packages

case $command in
test)
	exec sh e2e/tiers.sh "$@"
	;;
sanitizers)
	install_packages bc bison flex libelf-dev libssl-dev xz-utils
	build
	exec node dist/e2e/sanitizers.js "$@"
	;;
dashboard)
	install_packages chromium prometheus
	build
	exec node dist/e2e/dashboard.js "$@"
	;;
docs)
	run_logged build-ts npm run --silent build:ts
	exec node dist/e2e/docs/build.js
	;;
upstream | bench-upstream)
	install_packages bc bison flex libelf-dev libssl-dev patch xz-utils
	build
	exec node "dist/e2e/$command.js" "$@"
	;;
package)
	say "building the daemon's TypeScript"
	run_logged build-ts npm run --silent build:ts
	exec node dist/e2e/packages/build.js "$@"
	;;
test-packages)
	build
	node dist/e2e/packages/build.js --twice
	exec npx vitest run --project packages "$@"
	;;
quickstart | power-cuts | move | long-run | bench-guest | bench-window | bench-workloads | bench-comparison | bench-sizing)
	build
	exec node "dist/e2e/$command.js" "$@"
	;;
bench-requests)
	build
	case ${1:-} in
	start | waiting) exec npx vitest run --project bench "$@" ;;
	esac
	make -s -C native bench
	exec node dist/e2e/bench-requests.js "$@"
	;;
*)
	die "unknown command '$command'"
	;;
esac
