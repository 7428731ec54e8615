#!/usr/bin/env bash
# A FUSE server may let the kernel keep the attributes of a file for an hour, and then
# expects to be asked for them once. Under the writeback cache it is asked after every
# close of the file, also where the file was only read: close(2) marks the number of blocks
# as unknown (fuse_flush in the kernel's fs/fuse/file.c, whether the server implements FLUSH
# or not), and stat(2) and fstat(2) always want that number; only statx(2) can do without. So
# programs that open, fstat, read and close (cat, grep, compilers, interpreters) make one
# request for each file each time, though its pages are cached. Without the writeback cache
# they make none.
# Seen with Linux 6.18 and go-fuse v2.12.1, whose own loopback file system serves the
# mounts. Needs /dev/fuse and fusermount3.
# It matters to anyone who chooses between the two modes for a tree that is read often.
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
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

var asked atomic.Int64 // GETATTR of the file

type node struct{ fs.LoopbackNode }

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if !n.IsDir() {
		asked.Add(1)
	}
	return n.LoopbackNode.Getattr(ctx, f, out)
}

// file can be read and nothing else, so that the kernel reads by the server and not by
// itself (passthrough).
type file struct{ fs.FileReader }

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, out, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return file{f.(fs.FileReader)}, out | fuse.FOPEN_KEEP_CACHE, 0
}

func main() {
	root := &fs.LoopbackRoot{Path: "src"}
	root.NewNode = func(r *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{fs.LoopbackNode{RootData: r}}
	}
	keep := time.Hour
	opts := &fs.Options{EntryTimeout: &keep, AttrTimeout: &keep}
	if os.Args[1] == "writeback" {
		opts.ExtraCapabilities = fuse.CAP_WRITEBACK_CACHE
	}
	server, err := fs.Mount("mnt", root.NewNode(root, nil, "", nil), opts)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.WriteString("mounted\n")
	server.Wait()
	fmt.Println(asked.Load())
}
EOF_GO
printf 'module finding\n\ngo 1.26\n\nrequire github.com/hanwen/go-fuse/v2 v2.12.1\n' >go.mod
go mod tidy
go build -o loopback .
mkdir src mnt
echo content >src/file

# asked MODE: how often 10 times open, fstat, read, close ask for the attributes.
asked() {
	mkfifo "said-$1"
	./loopback "$1" >"said-$1" &
	server=$!
	exec 3<"said-$1"
	read -r <&3
	for _ in $(seq 10); do
		cat mnt/file >>read
	done
	fusermount3 -u mnt
	wait "$server"
	server=
	read -r count <&3
	echo "$1: $count" | tee -a seen
}
echo "Linux $(uname -r)"
asked plain
asked writeback
plain=$(sed -n 's/^plain: //p' seen) writeback=$(sed -n 's/^writeback: //p' seen)
[ "$plain" -le 1 ] && [ "$writeback" -ge 9 ] || {
	echo "different from what is stated" >&2
	exit 1
}
