#!/usr/bin/env bash
# An overlay with metacopy=on copies up attributes alone when a file's mode changes, with the
# mtime that the file had. When such a file is opened for writing its content is copied as well,
# and the mtime becomes the time of that copy, though nothing is written. One would expect it to
# stay: a file that was not changed before, and so is copied up whole at the same open, keeps it.
# Seen with Linux 6.18. As root, since it mounts an overlay.
# It matters to anyone who finds changed files by size and mtime (rsync, make, a packer): after
# a chmod, an open for writing, as "true >>file" makes, marks the file as changed.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
uname -r

# The mounts are gone with their namespace.
seen=$(unshare -m bash -euo pipefail -c '
	mkdir low up m
	mount -t tmpfs none low
	mount -t tmpfs none up
	mkdir up/upper up/work
	for f in opened chmodded both; do echo content >low/$f; touch -d @1000 low/$f; done
	mount -t overlay none -o lowerdir=low,upperdir=up/upper,workdir=up/work,metacopy=on m
	chmod 600 m/chmodded m/both
	: open for writing, and write nothing
	true >>m/opened
	true >>m/both
	for f in opened chmodded both; do
		[ "$(stat -c %Y m/$f)" = 1000 ] && echo "$f: the old mtime" || echo "$f: a new mtime"
	done
')
echo "$seen"
[ "$seen" = "opened: the old mtime
chmodded: the old mtime
both: a new mtime" ] || {
	echo "different from what is stated" >&2
	exit 1
}
