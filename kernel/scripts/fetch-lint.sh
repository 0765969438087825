#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Fetches, once, what the checks need and no installed package has:
#
#   fetch-lint.sh CACHE_DIR
#
# - checkpatch.pl and its word lists, out of the release's linux-source package
#   (no smaller package carries them);
# - the headers of Debian 12's 6.1 kernel, for a build against an old kernel;
# - those of Debian 13's PREEMPT_RT kernel.
#
# Runs as root on Debian, with apt's own mirror.
#
# Leaves CACHE_DIR/checkpatch/checkpatch.pl and CACHE_DIR/headers-*/build.

set -eu
cache=$1
mkdir -p "$cache"

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
	awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:/) {print $i; exit}}')
if [ -z "$mirror" ]; then
	mirror=$(awk '$1 == "URIs:" {print $2; exit}' /etc/apt/sources.list.d/*.sources)
fi
case $mirror in
mirror+file:*) mirror=$(grep -v '^#' "${mirror#mirror+file:}" | awk 'NF {print $1; exit}') ;;
esac

apt() { # SUITE APT-GET-OR-CACHE ARGS...: apt with lists of its own
	suite=$1
	tool=$2
	shift 2
	dir=$cache/apt-$suite
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	echo "deb $mirror $suite main" >"$dir/sources.list"
	"apt-$tool" -q -o Dir::Etc::SourceList="$dir/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" \
		-o APT::Sandbox::User=root "$@"
}

if [ ! -e "$cache/checkpatch/checkpatch.pl" ]; then
	echo "fetching checkpatch.pl (linux-source, about 150 MB, once)"
	mkdir -p "$cache/source"
	apt trixie get update >"$cache/fetch.log"
	package=$(apt trixie cache depends linux-source |
		awk '$1 == "Depends:" {print $2; exit}')
	(cd "$cache/source" && apt trixie get download "$package" >>"$cache/fetch.log")
	dpkg-deb --fsys-tarfile "$cache"/source/linux-source-*.deb |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJ -C "$cache/source" --wildcards --strip-components=2 \
			'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' \
			'*/scripts/const_structs.checkpatch'
	rm -f "$cache"/source/linux-source-*.deb
	mv "$cache/source" "$cache/checkpatch"
fi

headers() { # NAME SUITE META-PACKAGE: into headers-NAME
	name=$1
	suite=$2
	[ ! -e "$cache/headers-$name/build" ] || return 0
	echo "fetching $3 of $suite"
	rm -rf "$cache/headers-$name"
	mkdir -p "$cache/headers-$name/debs"
	apt "$suite" get update >>"$cache/fetch.log"
	package=$(apt "$suite" cache depends "$3" |
		awk '$1 == "Depends:" {print $2; exit}')
	# linux-headers-VERSION-FLAVOUR; cloud kernels share the common half.
	common=$(echo "$package" | sed 's/-cloud-amd64/-common/; s/-rt-amd64/-common-rt/')
	kbuild=$(apt "$suite" cache depends "$package" |
		awk '$2 ~ /^linux-kbuild-/ {print $2; exit}')
	(cd "$cache/headers-$name/debs" && apt "$suite" get download \
		"$package" "$common" "$kbuild" >>"$cache/fetch.log")
	for deb in "$cache/headers-$name"/debs/*.deb; do
		dpkg-deb -x "$deb" "$cache/headers-$name"
	done
	# It names its other half by an absolute path.
	dir=$cache/headers-$name/usr/src/$package
	sed -i "s|/usr/src/|$cache/headers-$name/usr/src/|g" "$dir/Makefile"
	ln -s "usr/src/$package" "$cache/headers-$name/build"
}

headers 6.1 bookworm linux-headers-cloud-amd64
headers rt trixie linux-headers-rt-amd64
