#!/usr/bin/env bash
# WriterOptions.IfNotExist of the Go CDK makes a write conditional: if the key exists,
# the write fails with FailedPrecondition and leaves the object alone. In a bucket of a
# cloud one of several concurrent writers wins, and one would expect the same of
# fileblob, since link(2) and O_EXCL could promise it. Instead Close calls stat and then
# renames, under a mutex that belongs to this one writer: two writers that close at the
# same time may both find nothing, and both succeed. One of them has then been told that
# it created the object, and the other's content is there.
# Seen with gocloud.dev v0.47.0. The script closes pairs of writers together until both
# of a pair succeed, 10,000 pairs at most; on two cores the first few do.
# It matters to anyone who builds a lock or a first commit on file://, or tests one there
# that is meant for a cloud.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat >main.go <<'EOF_GO'
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

func main() {
	ctx := context.Background()
	b, err := fileblob.OpenBucket(os.Args[1], nil)
	if err != nil {
		log.Fatal(err)
	}
	create := func(key, content string) *blob.Writer {
		w, err := b.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "text/plain", IfNotExist: true})
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			log.Fatal(err)
		}
		return w
	}

	one, two := create("key", "one"), create("key", "two")
	first, second := one.Close(), two.Close()
	fmt.Println("one after the other:", first, gcerrors.Code(second))

	for pair := range 10_000 {
		key := fmt.Sprint("pair-", pair)
		one, two := create(key, "one"), create(key, "two")
		var errs [2]error
		var closed sync.WaitGroup
		start := make(chan struct{})
		for i, w := range []*blob.Writer{one, two} {
			closed.Go(func() { <-start; errs[i] = w.Close() })
		}
		close(start)
		closed.Wait()
		if errs[0] == nil && errs[1] == nil {
			log.Printf("pair %d", pair)
			fmt.Println("together:", errs[0], errs[1])
			return
		}
	}
	fmt.Println("together: no pair of which both succeeded")
}
EOF_GO
printf 'module finding\n\ngo 1.26\n\nrequire gocloud.dev v0.47.0\n' >go.mod
go mod tidy
mkdir bucket
seen=$(go run . bucket)
echo "$seen"
[ "$seen" = 'one after the other: <nil> FailedPrecondition
together: <nil> <nil>' ] || {
	echo "different from what is stated" >&2
	exit 1
}
