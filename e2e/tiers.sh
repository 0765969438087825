#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every test tier, quickest first. A tier that fails does not stop the ones that follow, and none is left out in
# silence: what can't run on a machine fails. Started by e2e/run.sh once everything is installed.
#
# The rig's tiers take most of the time. In a run of all tiers, one that has passed with the very same files is not repeated:
# the run says so. Named on the command line, it runs in any case.
#
# Usage: sh e2e/tiers.sh [TIER...]      (default: all)
set -eu

cd "$(dirname "$0")/.."
. e2e/setup.sh

passed=0
failed=
unchanged=
wanted=$*

# run_tier LOG COMMAND...: runs with the output both shown and kept; POSIX sh has no other way to a pipe's status.
# A name that no COMMAND uses: setup.sh has a `log` of its own, and a tier that installed packages left its status elsewhere.
run_tier() {
	tier_log=$1
	shift
	{
		status=0
		"$@" 2>&1 || status=$?
		echo "$status" >"$tier_log.status"
	} | tee "$tier_log"
	[ "$(cat "$tier_log.status")" = 0 ]
}

# tier NAME COMMAND...
tier() {
	name=$1
	shift
	case " $wanted " in
	"  " | *" $name "*) ;;
	*) return 0 ;;
	esac
	say "$name: $*"
	outcome=failed
	begin=$(date +%s)
	if run_tier "$LOGS/tier-$name.log" "$@"; then
		passed=$((passed + 1))
		outcome=passed
		say "$name: passed in $(($(date +%s) - begin)) s"
	else
		failed="$failed $name"
		say "$name: FAILED after $(($(date +%s) - begin)) s"
	fi
}

# stamp NAME PATH...: the file that tells that the tier has passed with these files, as they are, and this rig.
stamp() {
	stamp_of=$1
	shift
	key=$({
		git ls-files -z -co --exclude-standard -- "$@" | xargs -0 sha256sum
		ls "$CACHE/roots" 2>/dev/null
	} | sha256sum | cut -c 1-16)
	echo "$CACHE/passed/$stamp_of-$key"
}

has_changed() {
	[ -n "$wanted" ] || [ ! -e "$(stamp "$@")" ]
}

# rig_tier NAME "PATH..." COMMAND...: a tier that depends on these files and on the rig alone.
rig_tier() {
	name=$1
	paths=$2
	shift 2
	# shellcheck disable=SC2086 # a list of paths
	if has_changed "$name" $paths; then
		outcome=
		tier "$name" "$@"
		[ "$outcome" = passed ] || return 0
		mkdir -p "$CACHE/passed"
		: >"$(stamp "$name" $paths)"
	else
		passed=$((passed + 1))
		unchanged="$unchanged $name"
		say "$name: passed before with the same files; to run it again: sh e2e/run.sh test $name"
	fi
}

# What a reader of a long log wants to see first: the lines that say what failed, and the last ones.
show_failure() {
	say "failed: $1; the whole output is in $LOGS/tier-$1.log"
	grep -aE '(^| )not ok |FAIL |AssertionError|Error: |error: |timed out|no answer' "$LOGS/tier-$1.log" | cut -c 1-300 | head -n 20
	printf '%s\n' '...'
	# A step that failed, and its reason.
	grep -a -A 60 ': FAILED after' "$LOGS/tier-$1.log" | cut -c 1-300 | head -n 80
	printf '%s\n' '...'
	tail -n 15 "$LOGS/tier-$1.log" | cut -c 1-300
}

shell_lint() {
	git ls-files '*.sh' .ci/run | xargs shellcheck -x -s sh
}

integration_tests() {
	install_packages bpftrace podman libcap2-bin jq
	npm run --silent test:integration
}

# All documents as HTML, in a browser.
docs_tests() {
	install_packages chromium
	npm run --silent test:docs
}

# libvirt as the client, on the machine itself.
libvirt_tests() {
	install_packages libvirt-daemon libvirt-daemon-driver-qemu qemu-system-x86
	npm run --silent test:libvirt
}

# Those for Debian 13, once; npm run test:packages does all of it.
package_tests() {
	node dist/e2e/packages/build.js --release trixie
	VIEWFSD_TEST_RELEASES=trixie npx vitest run --project packages
}

# No machine of ours runs it: this finds what only x86-64 has.
compile_for_aarch64() {
	install_packages g++-aarch64-linux-gnu
	make -s -C native -j "$(nproc)" aarch64
}

# Makes the rig's root and checks the driver in it beside the tiers that need neither.
start_driver_checks() {
	checks=
	case " $wanted " in
	"  " | *" driver-checks "*) ;;
	*) return 0 ;;
	esac
	# shellcheck disable=SC2086 # a list of paths
	has_changed driver-checks $DRIVER || return 0
	say "checking the driver in the background (log: $LOGS/driver-checks.log)"
	{
		status=0
		npm run --silent test:driver -- --part checks >"$LOGS/driver-checks.log" 2>&1 </dev/null || status=$?
		echo "$status" >"$LOGS/driver-checks.status"
	} &
	checks=$!
}

# What came of them.
driver_checks() {
	cat "$LOGS/driver-checks.log"
	return "$(cat "$LOGS/driver-checks.status")"
}

DRIVER='kernel e2e/rig e2e/driver-tests.ts'
LIBRARY='native server package.json package-lock.json tsconfig.json tsconfig.build.json vitest.config.ts e2e/guest/host-init.sh'

begin_all=$(date +%s)
# Most tiers drive what is built; a run of all builds on the way.
[ -z "$wanted" ] || build
tier format npm run --silent format:check
tier lint npm run --silent lint
tier shell shell_lint
tier manual npm run --silent lint:manual
tier types npm run --silent types
tier build npm run --silent build
tier aarch64 compile_for_aarch64
start_driver_checks
tier docs docs_tests
tier unit npm run --silent test:unit
tier native npm run --silent test:native
tier native-asan npm run --silent test:native:asan
tier integration integration_tests
tier fuzz npm run --silent fuzz -- 75
[ -z "$checks" ] || wait "$checks"
rig_tier driver-checks "$DRIVER" driver_checks
rig_tier packages "$DRIVER $LIBRARY e2e share doc README.md ARCHITECTURE.md SECURITY.md CHANGELOG.md" package_tests
rig_tier libvirt "$DRIVER $LIBRARY e2e share" libvirt_tests
rig_tier driver "$DRIVER $LIBRARY" npm run --silent test:driver -- --part selftests --part device
rig_tier e2e "$DRIVER $LIBRARY e2e doc README.md" npm run --silent test:e2e

say "whole run: $(($(date +%s) - begin_all)) s"
count=0
for name in $failed; do
	count=$((count + 1))
	show_failure "$name"
done
[ -z "$unchanged" ] || say "not repeated, since nothing has changed:$unchanged"
printf '%d passed, %d failed\n' "$passed" "$count"
[ "$count" -eq 0 ]
