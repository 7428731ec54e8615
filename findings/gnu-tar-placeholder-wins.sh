#!/usr/bin/env bash
# "tar -r" appends newer copies of files, and on extraction the last entry of a name
# wins. In GNU tar this does not hold for a name that was a symbolic link whose target is
# absolute or has "..": tar creates such links only when everything else is extracted,
# and the late link replaces the regular file that followed it in the archive. tar prints
# nothing and exits 0. A link with another target is replaced by the file, as expected,
# and bsdtar extracts the file for both.
# Seen with GNU tar 1.34 and bsdtar 3.6.2 (Debian 12).
# It matters to anyone who keeps a directory by appending to its archive: a link that
# has become a file is extracted as the link, and the file's content is missing.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

apt-get -qq -o APT::Sandbox::User=root download \
	tar=1.34+dfsg-1.2+deb12u1 {libarchive-tools,libarchive13}=3.6.2-1+deb12u5
for deb in *.deb; do dpkg-deb -x "$deb" root; done
tar=$tmp/root/bin/tar
bsdtar() { LD_LIBRARY_PATH=$(echo "$tmp"/root/usr/lib/*-linux-gnu) "$tmp/root/usr/bin/bsdtar" "$@"; }
"$tar" --version | head -n 1
bsdtar --version

mkdir before after by-gnu by-bsd
ln -s ../elsewhere before/outside
ln -s elsewhere before/inside
echo 'the new file' | tee after/outside >after/inside
"$tar" -cf kept.tar -C before outside inside
"$tar" -rf kept.tar -C after outside inside
"$tar" -tvf kept.tar

"$tar" -xf kept.tar -C by-gnu
bsdtar -xf kept.tar -C by-bsd
kind() { stat -c '%F' "$1"; }
seen="GNU tar: outside $(kind by-gnu/outside), inside $(kind by-gnu/inside)
bsdtar: outside $(kind by-bsd/outside), inside $(kind by-bsd/inside)"
echo "$seen"
[ "$seen" = "GNU tar: outside symbolic link, inside regular file
bsdtar: outside regular file, inside regular file" ] || {
	echo "different from what is stated" >&2
	exit 1
}
