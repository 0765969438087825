# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Steps that install and build what the other scripts need; to be sourced from the checkout's top folder.

CACHE=${VIEWFSD_CACHE:-$PWD/.cache}
export VIEWFSD_CACHE="$CACHE"
LOGS=$CACHE/logs
mkdir -p "$LOGS"

say() {
	printf '==> %s\n' "$*"
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# run_logged NAME COMMAND...: runs quietly, keeps the output, and shows its end where the command fails.
run_logged() {
	log=$LOGS/$1.log
	shift
	if ! "$@" >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		die "'$*' failed; its whole output is in $log"
	fi
}

require_machine() {
	[ "$(id -u)" = 0 ] || die "this needs root: it makes a Debian root folder, mounts, and starts virtual machines"
	[ "$(uname -m)" = x86_64 ] || die "only x86_64 machines are supported so far, this is $(uname -m)"
	command -v node >/dev/null || die "Node.js >= 20 is missing"
	[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] ||
		die "Node.js >= 20 is needed, this is $(node --version)"
	command -v npm >/dev/null || die "npm is missing"
	for tool in make cc c++; do
		command -v "$tool" >/dev/null || die "'$tool' is missing: install a C/C++ toolchain (package build-essential)"
	done
	command -v apt-get >/dev/null || die "the rig is made from Debian packages: this needs Debian 12 or 13 (apt-get)"
}

# The libfuse 2 that fuse-native loads was renamed in Debian 13.
libfuse2_package() {
	if apt-cache show libfuse2t64 >/dev/null 2>&1; then
		echo libfuse2t64
	else
		echo libfuse2
	fi
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_system_packages() {
	libfuse2=libfuse2
	if is_installed libfuse2t64; then
		libfuse2=
	fi
	# shellcheck disable=SC2086 # a word or none
	install_packages debootstrap debian-archive-keyring ca-certificates xz-utils e2fsprogs btrfs-progs shellcheck mandoc libvirt-clients libxml2-utils uidmap $libfuse2
}

# install_packages PACKAGE...: those that are missing.
install_packages() {
	missing=
	for package in "$@"; do
		is_installed "$package" || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	say "installing Debian packages:$missing"
	run_logged apt-update apt-get update
	missing=$(echo "$missing" | sed "s/libfuse2\$/$(libfuse2_package)/")
	# shellcheck disable=SC2086 # a list of words
	run_logged apt-install env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}

# No package's install script is run: the addon is built by our own Makefile, and every binary that the tools need
# comes inside its package.
install_npm_packages() {
	stamp=node_modules/.installed-from
	if [ -f "$stamp" ] && cmp -s package-lock.json "$stamp"; then
		return 0
	fi
	say "installing npm packages"
	run_logged npm-ci npm ci --ignore-scripts --no-audit --no-fund
	cp package-lock.json "$stamp"
}

build() {
	say "building the addon and the daemon"
	run_logged build-native npm run --silent build:native
	run_logged build-ts npm run --silent build:ts
}
