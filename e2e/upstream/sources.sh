# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# The sources of the patched kernel, below the current folder; to be sourced after kernels/source.sh. `pristine` is the source as
# Debian has it, from the linux-source-7.3_*.deb that lies here, `source` the one with all patches of kernel/upstream.

# shellcheck disable=SC2154 # set by who sources this
patches=$(cd "$here/../../kernel/upstream" && pwd)
package=linux-source-7.3
series=$(sed '/^#/d' "$patches/series")

# copy_source FROM TO: as hard links, which patch(1) replaces.
copy_source() {
	rm -rf "$2"
	cp -al "$1" "$2"
}

apply_patch() { # PATCH DIR
	patch -s -p1 -F0 --no-backup-if-mismatch -d "$2" <"$patches/$1" >"$1.log" 2>&1 || { cat "$1.log" >&2; exit 1; }
	# What does not fit as it is, patch(1) says in words.
	if [ -s "$1.log" ]; then
		cat "$1.log" >&2
		echo "error: $1 does not apply as it is" >&2
		exit 1
	fi
	rm "$1.log"
}

# The files that patches change or make.
patched_files() { # PATCH...
	(cd "$patches" && sed -n 's/^+++ b\///p' "$@") | sort -u
}

unpack_pristine() {
	key=$(echo ${package}_*.deb)
	[ "$(cat unpacked 2>/dev/null)" = "$key" ] && return
	say "unpacking $package"
	rm -rf unpacked pristine
	unpack_source $package
	mv source pristine
	rm -f patched
	echo "$key" >unpacked
}

# shellcheck disable=SC2086 # a list of names
patch_source() {
	key=$(cat unpacked; (cd "$patches" && cat $series) | sha256sum)
	[ "$(cat patched 2>/dev/null)" = "$key" ] && return
	rm -f patched
	copy_source pristine fresh
	for patch in $series; do
		say "applying $patch"
		apply_patch "$patch" fresh
	done
	# What is as before keeps its date, so that it is not built again.
	for file in $(patched_files $series); do
		if cmp -s "source/$file" "fresh/$file"; then
			touch -r "source/$file" "fresh/$file"
		fi
	done
	rm -rf source
	mv fresh source
	echo "$key" >patched
}
