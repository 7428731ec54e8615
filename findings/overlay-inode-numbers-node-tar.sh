#!/usr/bin/env bash
# An overlay over two file systems gives the files of the lower one numbers with the top bit
# set (xino=on), which need more than the 53 bits of a double. Node's fs.stat returns inode
# numbers as doubles, where neighbours of that size are equal. npm's tar 7.5.1 recognizes hard
# links by device and inode number, and so packs unrelated files that have a second name each
# as links of one file. One would expect it to ask for numbers as BigInt: the archive restores
# the first file's content under the names of the second, and all exit 0.
# Seen with Linux 6.18, Node 22.23.1 and npm's tar 7.5.1. As root, since it mounts an overlay.
# It matters to anyone who packs node_modules, or a container's files, with a Node program on an
# overlay whose layers are on different file systems. GNU tar packs the same tree as it is.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm install --silent --no-fund --no-audit --prefix "$tmp" node@22.23.1 tar@7.5.1 >/dev/null
export PATH=$tmp/node_modules/.bin:$PATH
uname -r
node --version

cat >pack.mjs <<'END'
import * as tar from "tar"
import fs from "node:fs"
for (const f of ["one", "two"])
  console.log(f, fs.statSync(f).ino, fs.statSync(f, { bigint: true }).ino)
await tar.create({ file: process.argv[2] }, ["one", "one-too", "two", "two-too"])
END

# The mounts are gone with their namespace.
unshare -m bash -euo pipefail -c '
	mkdir low up m
	mount -t tmpfs none low
	mount -t tmpfs none up
	mkdir up/upper up/work
	echo first >low/one; ln low/one low/one-too
	echo second >low/two; ln low/two low/two-too
	mount -t overlay none -o lowerdir=low,upperdir=up/upper,workdir=up/work,xino=on m
	cd m
	node ../pack.mjs ../node.tar
	tar -cf ../gnu.tar one one-too two two-too
'
mkdir node gnu
tar -xf node.tar -C node
tar -xf gnu.tar -C gnu
echo "packed by npm's tar: $(cat node/one node/two | paste -sd ' ')"
echo "packed by GNU tar: $(cat gnu/one gnu/two | paste -sd ' ')"
[ "$(cat node/one node/two | paste -sd ' ')" = "first first" ] && [ "$(cat gnu/one gnu/two | paste -sd ' ')" = "first second" ] || {
	echo "different from what is stated" >&2
	exit 1
}
