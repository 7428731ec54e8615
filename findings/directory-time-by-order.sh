#!/usr/bin/env bash
# What is put into a directory changes its time, so extractors set the times of
# directories again when all else is done, and one would expect a directory's time to be
# the archive's wherever its entry stands. It depends on the order of entries, in opposite
# ways:
# * bsdtar puts off the time of a directory that it makes for the directory's own entry.
#   One that is there already, because a file in it came first, gets its time at once, and
#   loses it to whatever comes later.
# * GNU tar makes symbolic links that are absolute or have ".." in them at the very end. It
#   sets the time of their directory after them only if nothing outside of the directory
#   came between the directory, or its first file, and the link.
# So where entries of other directories come in between, only one order is right for both:
# the directory's entry, its links that lead up, and later the files in it.
# Seen with bsdtar 3.6.2 and GNU tar 1.34 of Debian 12.
# It matters to whoever writes archives with the contents in front of the directories, for
# readers that set the time of a directory at once.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download \
	tar=1.34+dfsg-1.2+deb12u1 {libarchive-tools,libarchive13}=3.6.2-1+deb12u5
for deb in *.deb; do dpkg-deb -x "$deb" root; done
bsdtar() { LD_LIBRARY_PATH=$(echo "$tmp"/root/usr/lib/*-linux-gnu) "$tmp/root/usr/bin/bsdtar" "$@"; }
gnutar() { "$tmp/root/bin/tar" "$@"; }
bsdtar --version
gnutar --version | head -n 1

# write NAME ENTRY...: an archive of entries d (a directory), f (a file in it), l (a link in
# it that leads up) and o (another directory), all of 2001.
write() {
	python3 - "$@" <<'EOF_PY'
import io, sys, tarfile
made = {
    "d": ("dir", tarfile.DIRTYPE, ""), "f": ("dir/file", tarfile.REGTYPE, ""),
    "l": ("dir/link", tarfile.SYMTYPE, "../file"), "o": ("other", tarfile.DIRTYPE, ""),
}
with tarfile.open(sys.argv[1], "w") as t:
    for key in sys.argv[2:]:
        info = tarfile.TarInfo(made[key][0])
        info.type, info.linkname, info.mtime, info.mode = made[key][1], made[key][2], 1_000_000_000, 0o755
        t.addfile(info)
EOF_PY
}

# times ARCHIVE: whether the directory has its own time, by each program.
times() {
	local program result=
	for program in bsdtar gnutar; do
		rm -rf out
		mkdir out
		"$program" -C out -xf "$1"
		if [ "$(stat -c %Y out/dir)" = 1000000000 ]; then result="$result $program kept"; else result="$result $program lost"; fi
	done
	echo "$1:$result" | tee -a seen
}
write directory-link-other-file d l o f
write file-other-directory-link f o d l
write file-other-link-directory f o l d
write directory-other-link-file d o l f
for archive in directory-link-* file-* directory-other-*; do times "$archive"; done
[ "$(cat seen)" = "directory-link-other-file: bsdtar kept gnutar kept
file-other-directory-link: bsdtar lost gnutar kept
file-other-link-directory: bsdtar kept gnutar lost
directory-other-link-file: bsdtar kept gnutar lost" ] || {
	echo "different from what is stated" >&2
	exit 1
}
