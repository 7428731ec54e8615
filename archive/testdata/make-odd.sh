#!/bin/sh
# Makes the odd archives that golden_test.go reads: ones that GNU tar extracts with
# exit code 0 though no standard has them so. As make.sh, it was run once.
#
# Needs root and the programs that make.sh needs, and Node.js with the tar package,
# whose directory is $NODE_TAR.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree/d/e"
cd "$work/tree"
umask 022

printf 'hello, world\n' >d/file
printf 'other' >d/e/other
: >empty
ln -s d/file sym
ln -s not/there dangling
mkfifo pipe
# What cp -al and rsync -H leave: every name twice, whatever its kind.
cp -al d d-again
ln sym sym-again
ln dangling d/dangling-again
ln pipe pipe-again
find . ! -type l -exec touch -h -d '2021-02-03 04:05:06 UTC' {} +
find . -type l -exec touch -h -d '2001-01-01 00:00:01 UTC' {} +

keep() { gzip -n9 >"$here/odd-$1.tar.gz"; }

# Names that were given twice are hard links to themselves.
tar --version | head -1 >&2
find d empty | tar -c --sort=name -T - | keep gnutar-find
tar -c --sort=name . ./d/file | keep gnutar-overlap
bsdtar --version >&2
bsdtar -c --format=pax . d/file empty | keep bsdtar-overlap
bsdtar -c --format=pax d/file ./d/file | keep bsdtar-self
node --version >&2
node -e '
const tar = require(process.env.NODE_TAR)
tar.create({ portable: false }, ["d", "d/file", "./d/file", "empty"]).pipe(process.stdout)
' | keep node-overlap

# Hard links to symbolic links and FIFOs.
tar -c --sort=name . | keep gnutar-links
bsdtar -c --format=pax . | keep bsdtar-links
busybox | head -1 >&2
busybox tar -c . | keep busybox-links

# Absolute names, and a root that is a slash, as builders of images write it.
tar -cP --sort=name --transform='flags=rh;s,^,/,' d d-again | keep gnutar-absolute
tar -cP --sort=name --transform='flags=rh;s,^\./,/,;s,^\.$,/,' ./ | keep gnutar-slash
bsdtar -cP --format=ustar -s ',^,/,' d d-again | keep bsdtar-absolute

# Tars without their end, with half of it, and with leftovers behind half of it, as
# old archives have them.
tar -c --sort=name d empty >"$work/all.tar"
end=$(python3 - "$work/all.tar" <<'PY'
import sys, tarfile
with tarfile.open(sys.argv[1]) as t:
    t.getmembers()
    print(t.offset)
PY
)
head -c "$end" "$work/all.tar" | keep end-none
head -c "$((end + 100))" "$work/all.tar" | keep end-part
head -c "$((end + 512))" "$work/all.tar" | keep end-one
(head -c "$((end + 512))" "$work/all.tar"; printf 'leftovers of a buffer %.0s' $(seq 100)) | keep end-leftovers
