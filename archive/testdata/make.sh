#!/bin/sh
# Makes the archives that golden_test.go reads, with the programs whose archives
# we must read. It was run once; the archives are never made anew, since what
# they hold is what those versions wrote then.
#
# Needs root (owners), a file system with user.* attributes and holes, and GNU
# tar, bsdtar, busybox, Python 3 and Go.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
cd "$work/tree"
umask 022

mkdir -p dir/empty dir/closed
printf 'hello, world\n' >dir/hello
printf 'in a directory without w' >dir/closed/in
: >empty
: >old
printf '#!/bin/sh\n' >run
ln run dir/second
ln -s dir/hello sym
ln -s not/there dangling
ln -s "$(printf 'target/%.0s' $(seq 30))end" long-symlink
mkfifo pipe
printf 'utf-8' >'grün 日本'
long=$(printf 'n%.0s' $(seq 150))
printf 'long name' >"$long"
mkdir -p "deep/$long"
printf 'long path' >"deep/$long/$long"
ln "deep/$long/$long" "deep/$long/link"
truncate -s 100K sparse
printf 'in the middle' | dd of=sparse bs=1 seek=65536 conv=notrunc status=none
for i in $(seq 60); do printf "$i" | dd of=many bs=1 seek=$((i * 12288)) conv=notrunc status=none; done
setfattr -n user.comment -v 'a value' dir/hello
chown 1000:1001 dir/hello
chown -h 7:8 sym
chmod 4755 run
chmod 0600 empty pipe
chmod 1777 dir
find . ! -type l -exec touch -h -d '2021-02-03 04:05:06.123456789 UTC' {} +
find . -type l -exec touch -h -d '2001-01-01 00:00:01 UTC' {} +
touch -d '1969-12-31 23:59:58 UTC' old
chmod 0555 dir/closed
touch -d '2011-11-11 11:11:11 UTC' dir dir/closed .

cd "$work"
tar --version | head -1 >&2
for format in gnu posix ustar oldgnu v7; do
	case $format in
	v7) what="dir/hello dir/empty empty run dir/second sym" ;;
	ustar) what="dir empty run sym dangling pipe" ;;
	*) what=. ;;
	esac
	(cd tree && tar -c --format=$format --sort=name $what) | gzip -n9 >"$here/gnutar-$format.tar.gz"
done
(cd tree && tar -cS --format=gnu sparse many) | gzip -n9 >"$here/gnutar-sparse-gnu.tar.gz"
for version in 0.0 0.1 1.0; do
	(cd tree && tar -cS --format=posix --sparse-version=$version sparse many) | gzip -n9 >"$here/gnutar-sparse-$version.tar.gz"
done
(cd tree && tar -c --format=posix --xattrs dir/hello) | gzip -n9 >"$here/gnutar-xattrs.tar.gz"
(cd tree && tar -c --format=posix --pax-option='globexthdr.name=g,comment=all of it,uid=55' dir/hello) | gzip -n9 >"$here/gnutar-global.tar.gz"

bsdtar --version >&2
(cd tree && bsdtar -c --format=pax .) | gzip -n9 >"$here/bsdtar-pax.tar.gz"
(cd tree && bsdtar -c --format=ustar dir empty run sym pipe) | gzip -n9 >"$here/bsdtar-ustar.tar.gz"
(cd tree && bsdtar -c --format=gnutar .) | gzip -n9 >"$here/bsdtar-gnutar.tar.gz"

busybox | head -1 >&2
(cd tree && busybox tar -c .) | gzip -n9 >"$here/busybox.tar.gz"

python3 --version >&2
for format in GNU PAX USTAR; do
	python3 - "$format" "$here/python-$format.tar.gz" <<'PY'
import gzip, os, sys, tarfile
os.chdir("tree")
with gzip.GzipFile(sys.argv[2], "wb", mtime=0) as z, \
        tarfile.open(fileobj=z, mode="w", format=getattr(tarfile, sys.argv[1] + "_FORMAT")) as t:
    for name in ["dir", "empty", "run", "sym", "pipe"] if sys.argv[1] == "USTAR" else sorted(os.listdir(".")):
        t.add(name)
PY
done

# As Python's temporal-workdir packs: one entry for each file, no directories.
python3 - "$here/ancestor.tar.gz" <<'PY'
import pathlib, sys, tarfile
root = pathlib.Path("tree")
with tarfile.open(sys.argv[1], mode="w:gz") as t:
    for path in sorted(root.rglob("*")):
        if path.is_file():
            t.add(path, arcname=str(path.relative_to(root)))
PY

go version >&2
cat >pack.go <<'GO'
package main

import (
	"archive/tar"
	"compress/gzip"
	"os"
)

func main() {
	z := gzip.NewWriter(os.Stdout)
	w := tar.NewWriter(z)
	if err := w.AddFS(os.DirFS("tree")); err != nil {
		panic(err)
	}
	w.Close()
	z.Close()
}
GO
rm tree/pipe # AddFS takes none
go run pack.go >"$here/go.tar.gz"

# Several members: what pigz -i, bgzip and cat make.
(
	cd tree
	tar -cf ../all.tar dir run
	split -b 4000 ../all.tar ../part-
	for part in ../part-*; do gzip -n9 <"$part"; done
) >"$here/members.tar.gz"
