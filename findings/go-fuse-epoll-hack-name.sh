#!/usr/bin/env bash
# A file system that is served by go-fuse has the names that its server knows, one would
# think. The library answers for one name itself: .go-fuse-epoll-hack in the root is an
# empty file of 1970. It is there to make the kernel give up POLL when the mount begins,
# but it stays as long as the mount. A real file of that name is hidden: readdir lists
# it, but to read it returns no bytes and no error, and tar stores an empty file and
# exits 0. Where there is no real file, readdir lists none but stat finds one; mkdir
# says EEXIST, and removing it says ERANGE. One directory further down the name is like
# any other. With an entry timeout, a listing brings back the real file until that time
# is over; here there is none, as in the zero fs.Options.
# Seen with go-fuse v2.12.1, its own loopback file system, and GNU tar 1.34 on Linux
# 6.18. Needs /dev/fuse and fusermount3.
# It matters to anyone who archives a mount: a file's content is replaced by nothing,
# without an error. A server has to refuse the name on its own.
set -euo pipefail
tmp=$(mktemp -d)
server=
leave() {
	if [ -n "$server" ]; then
		fusermount3 -uz "$tmp/mnt" || true
		wait "$server" || true
	fi
	rm -rf "$tmp"
}
trap leave EXIT
cd "$tmp"

cat >main.go <<'EOF_GO'
package main

import (
	"log"
	"os"

	"github.com/hanwen/go-fuse/v2/fs"
)

func main() {
	root, err := fs.NewLoopbackRoot("src")
	if err != nil {
		log.Fatal(err)
	}
	server, err := fs.Mount("mnt", root, &fs.Options{})
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.WriteString("mounted\n")
	server.Wait()
}
EOF_GO
printf 'module finding\n\ngo 1.26\n\nrequire github.com/hanwen/go-fuse/v2 v2.12.1\n' >go.mod
go mod tidy
go build -o loopback .

name=.go-fuse-epoll-hack
mkdir -p src/below mnt
echo content | tee src/$name >src/below/$name
mkfifo ready
./loopback >ready &
server=$!
read -r <ready

tar --version | head -n 1
echo "Linux $(uname -r)"
see() { echo "$*" | tee -a seen; }
tar -cf mnt.tar -C mnt .
see "in the tar: $(tar -xOf mnt.tar ./$name | wc -c) bytes, below $(tar -xOf mnt.tar ./below/$name | wc -c), of $(wc -c <src/$name)"
rm src/$name
see "removed beneath: listed $(find mnt -maxdepth 1 -name $name | wc -l), there $(test -e mnt/$name && echo yes || echo no)"
see "$(LC_ALL=C mkdir mnt/$name 2>&1 | sed 's/.*: //')"
see "$(LC_ALL=C rm mnt/$name 2>&1 | sed 's/.*: //')"
[ "$(cat seen)" = "in the tar: 0 bytes, below 8, of 8
removed beneath: listed 0, there yes
File exists
Numerical result out of range" ] || {
	echo "different from what is stated" >&2
	exit 1
}
