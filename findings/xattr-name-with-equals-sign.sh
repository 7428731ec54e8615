#!/usr/bin/env bash
# An extended attribute's name may contain "=", the character that ends a keyword in a
# pax header. GNU tar and bsdtar both write it as "%3D" into SCHILY.xattr, so one would
# expect either to read what either wrote. bsdtar does not undo the escape there: from
# GNU tar's archive it restores user.a%3Db in place of user.a=b. From its own archive,
# which has the attribute a second time under LIBARCHIVE.xattr, it restores both names,
# so a file has one attribute more after a round trip. GNU tar restores the one
# attribute from both archives. All exit 0.
# Seen with GNU tar 1.34 and bsdtar 3.6.2 (Debian 12). The temporary directory must be
# on a file system with user.* attributes, such as ext4.
# It matters to anyone who compares a directory with its archive, or writes archives
# for both tools: through SCHILY.xattr alone this name reaches GNU tar only.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

apt-get -qq -o APT::Sandbox::User=root download tar=1.34+dfsg-1.2+deb12u1 \
	{libarchive-tools,libarchive13}=3.6.2-1+deb12u5 attr=1:2.5.1-4
for deb in *.deb; do dpkg-deb -x "$deb" root; done
tar=$tmp/root/bin/tar
bsdtar() { LD_LIBRARY_PATH=$(echo "$tmp"/root/usr/lib/*-linux-gnu) "$tmp/root/usr/bin/bsdtar" "$@"; }
"$tar" --version | head -n 1
bsdtar --version

echo content >file
"$tmp/root/usr/bin/setfattr" -n user.a=b -v value file
"$tar" --format=posix --xattrs -cf gnu.tar file
bsdtar --format=pax --xattrs -cf bsd.tar file

# names DIRECTORY: of the attributes of its file. getfattr shows "=" as \075.
names() { (cd "$1" && "$tmp/root/usr/bin/getfattr" file | sed -n 's/\\075/=/;/^user/p' | sort | paste -sd ' '); }
seen=
for writer in gnu bsd; do
	mkdir "$writer-gnu" "$writer-bsd"
	# GNU tar warns that it ignores the keyword LIBARCHIVE.xattr, as it should.
	"$tar" --xattrs --warning=no-unknown-keyword -xf $writer.tar -C $writer-gnu
	bsdtar --xattrs -xpf $writer.tar -C $writer-bsd
	for reader in gnu bsd; do
		seen+="written by $writer, read by $reader: $(names $writer-$reader)"$'\n'
	done
done
printf %s "$seen"
[ "$seen" = "written by gnu, read by gnu: user.a=b
written by gnu, read by bsd: user.a%3Db
written by bsd, read by gnu: user.a=b
written by bsd, read by bsd: user.a%3Db user.a=b
" ] || {
	echo "different from what is stated" >&2
	exit 1
}
