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

# configure_kernel FRAGMENT OPTION...: defconfig, kvm_guest.config and FRAGMENT; the OPTIONs must be built in then.
configure_kernel() {
	make -s -C source O="$PWD/build" defconfig kvm_guest.config >/dev/null
	(cd source && scripts/kconfig/merge_config.sh -m -O "$OLDPWD/build" "$OLDPWD/build/.config" "$1" >/dev/null)
	make -s -C source O="$PWD/build" olddefconfig
	shift
	for option; do
		grep -q "^CONFIG_$option=y" build/.config || { echo "error: CONFIG_$option is off" >&2; exit 1; }
	done
}
