#!/usr/bin/env bash
# Under FUSE's writeback cache the kernel keeps the time of a file's last change: it
# stamps each write and ignores the time in the server's answers. Writes to a file that
# the server opens with FOPEN_DIRECT_IO bypass the cache, and one would expect them to
# move the time as well, by the kernel or by the server. Neither happens: a direct write
# stamps nothing, and the server's time is still ignored. stat shows the new size with
# the old time, even with attribute timeouts of 0, although the file beneath has the new
# time. Either feature without the other moves the time.
# Seen with Linux 6.18 and go-fuse v2.12.1, whose own loopback file system serves the
# three mounts. Needs /dev/fuse and fusermount3.
# It matters to anyone who opens some files of a mount directly, because they are big or
# the disk is nearly full: make does not see that those have changed, nor do rsync and
# backups where the size is the same.
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
	"context"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

type node struct{ fs.LoopbackNode }

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, out, errno := n.LoopbackNode.Open(ctx, flags)
	if strings.Contains(os.Args[1], "direct") {
		out |= fuse.FOPEN_DIRECT_IO
	}
	return f, out, errno
}

func main() {
	root := &fs.LoopbackRoot{Path: "src"}
	root.NewNode = func(r *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{fs.LoopbackNode{RootData: r}}
	}
	var never time.Duration
	opts := &fs.Options{EntryTimeout: &never, AttrTimeout: &never}
	if strings.Contains(os.Args[1], "writeback") {
		opts.ExtraCapabilities = fuse.CAP_WRITEBACK_CACHE
	}
	server, err := fs.Mount("mnt", root.NewNode(root, nil, "", nil), opts)
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
mkdir src mnt

# state FILE: its size, and whether its time is still that of 2001.
state() {
	if [ "$(date -u -r "$1" +%Y)" = 2001 ]; then echo "size $(stat -c %s "$1"), old time"; else echo "size $(stat -c %s "$1"), new time"; fi
}
try() {
	echo old >src/file
	touch -d '2001-06-01' src/file
	mkfifo "ready-$1"
	./loopback "$1" >"ready-$1" &
	server=$!
	read -r <"ready-$1"
	# Open for reading too: the writeback cache reads a page that it changes in part.
	printf 'new content\n' 1<>mnt/file
	echo "$1: $(state mnt/file), beneath $(state src/file)" | tee -a seen
	fusermount3 -u mnt
	wait "$server"
	server=
}
echo "Linux $(uname -r)"
try writeback
try direct
try writeback-direct
[ "$(cat seen)" = "writeback: size 12, new time, beneath size 12, new time
direct: size 12, new time, beneath size 12, new time
writeback-direct: size 12, old time, beneath size 12, new time" ] || {
	echo "different from what is stated" >&2
	exit 1
}
