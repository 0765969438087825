#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Entry of `npm run quickstart`, `npm test` and `npm run bench:guest`: brings a machine that has only Node, a C/C++
# toolchain and root to where everything is built, then runs the command. Each step looks first and does only what
# is missing, so a second run is quick.
#
# Usage: sh e2e/run.sh quickstart|test|bench-guest [ARGUMENT...]
set -eu

cd "$(dirname "$0")/.."
. e2e/setup.sh

command=${1:?usage: sh e2e/run.sh quickstart|test|bench-guest [ARGUMENT...]}
shift

require_machine
install_system_packages
install_npm_packages

case $command in
test)
	exec sh e2e/tiers.sh "$@"
	;;
quickstart | bench-guest)
	build
	exec node "dist/e2e/$command.js" "$@"
	;;
*)
	die "unknown command '$command'"
	;;
esac
