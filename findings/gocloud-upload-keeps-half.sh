#!/usr/bin/env bash
# Bucket.Upload of the Go CDK copies a reader into an object. When the reader fails half
# way, Upload returns the reader's error, and one would expect the object to be as it was
# before. With fileblob and memblob the half that was read is committed: it replaces the
# object that was there, and can be read without an error. After a failed read Upload
# closes its writer, which commits; to abort, the context has to be cancelled first, and
# Upload does not do so. If the reader cancels the context before it returns its error,
# the object stays as it was.
# Seen with gocloud.dev v0.47.0.
# It matters to anyone who streams an archive into a bucket: a tar writer that fails
# replaces the last good archive by a truncated one, however the error is handled.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat >main.go <<'EOF_GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
)

type failing struct{ before func() }

func (f failing) Read([]byte) (int, error) {
	f.before()
	return 0, errors.New("the source broke")
}

// upload fails half way over an object that says "whole", and shows what is left.
func upload(name string, b *blob.Bucket, before func(context.CancelFunc)) {
	opts := &blob.WriterOptions{ContentType: "text/plain"}
	if err := b.WriteAll(context.Background(), "key", []byte("whole"), opts); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := b.Upload(ctx, "key", io.MultiReader(strings.NewReader("half"), failing{func() { before(cancel) }}), opts)
	left, readErr := b.ReadAll(context.Background(), "key")
	fmt.Printf("%s: failed %t, left %q, read error %v\n", name, err != nil, left, readErr)
}

func main() {
	file, err := fileblob.OpenBucket(os.Args[1], nil)
	if err != nil {
		log.Fatal(err)
	}
	mem := memblob.OpenBucket(nil)
	leave := func(context.CancelFunc) {}
	abort := func(cancel context.CancelFunc) { cancel() }
	upload("file", file, leave)
	upload("mem", mem, leave)
	upload("file, cancelled", file, abort)
	upload("mem, cancelled", mem, abort)
}
EOF_GO
printf 'module finding\n\ngo 1.26\n\nrequire gocloud.dev v0.47.0\n' >go.mod
go mod tidy
mkdir bucket
seen=$(go run . bucket)
echo "$seen"
[ "$seen" = 'file: failed true, left "half", read error <nil>
mem: failed true, left "half", read error <nil>
file, cancelled: failed true, left "whole", read error <nil>
mem, cancelled: failed true, left "whole", read error <nil>' ] || {
	echo "different from what is stated" >&2
	exit 1
}
