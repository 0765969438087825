# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# How a kernel of our own comes from a source package of Debian's; to be sourced. All of it works in the current folder: the package is
# unpacked to source/, what is built goes to build/.

say() {
	printf '==> %s\n' "$*"
}

# unpack_source PACKAGE: from the PACKAGE_*.deb that lies here.
unpack_source() {
	rm -rf source package
	mkdir source package
	dpkg-deb -x "$1"_*.deb package
	tar -C source --strip-components=1 -xf "package/usr/src/$1.tar.xz"
	rm -rf package
}

# configure_kernel FRAGMENTS OPTION[=m]...: defconfig, kvm_guest.config and FRAGMENTS; the OPTIONs must be built in then, or be modules.
# The source is in $tree, what is built goes to $out (default: source, build).
configure_kernel() {
	make -s -C "${tree:-source}" O="$PWD/${out:-build}" defconfig kvm_guest.config >/dev/null
	# shellcheck disable=SC2086 # a list of names
	(cd "${tree:-source}" && scripts/kconfig/merge_config.sh -m -O "$OLDPWD/${out:-build}" "$OLDPWD/${out:-build}/.config" $1 >/dev/null)
	make -s -C "${tree:-source}" O="$PWD/${out:-build}" olddefconfig
	shift
	for option; do
		case $option in
		*=*) ;;
		*) option=$option=y ;;
		esac
		grep -q "^CONFIG_$option\$" "${out:-build}/.config" || { echo "error: not in the configuration: CONFIG_$option" >&2; exit 1; }
	done
}
