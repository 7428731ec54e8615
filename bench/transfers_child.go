package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/workdir/workdir/store"
)

// transferEnv makes a process of this program transfer one archive and end.
const transferEnv = "WORKDIR_BENCH_TRANSFER"

// moves are the transfers, by transferrer and direction. They get the endpoint and the file.
var moves = map[string]func(context.Context, string, *os.File) error{
	"s3-workdir true": putTo(s3URL), "s3-workdir false": getFrom(s3URL), "s3-sdk true": putByS3, "s3-sdk false": getByS3,
	"gs-workdir true": putTo(gsURL), "gs-workdir false": getFrom(gsURL), "gs-sdk true": putByGS, "gs-sdk false": getByGS,
	"azure-workdir true": putTo(azureURL), "azure-workdir false": getFrom(azureURL), "azure-sdk true": putByAzure, "azure-sdk false": getByAzure,
	"s3-compose true": composeIn(s3URL), "gs-compose true": composeIn(gsURL), "azure-compose true": composeIn(azureURL), "file-compose true": composeIn(fileURL),
}

// transferChild does the transfer in transferEnv: the transferrer, the direction, the
// endpoint, and the file.
func transferChild(ctx context.Context, what string) error {
	fields := strings.Fields(what)
	if len(fields) != 4 {
		return fmt.Errorf("%s has %d fields", transferEnv, len(fields))
	}
	move := moves[fields[0]+" "+fields[1]]
	if move == nil {
		return fmt.Errorf("%s: nobody moves %q", transferEnv, what)
	}
	f, err := os.OpenFile(fields[3], os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	return move(ctx, fields[2], f)
}

var transferName = strings.TrimSuffix(transferObject, ".tar.gz")

// putTo uploads by a store.
func putTo(bucket func(endpoint string) store.URL) func(context.Context, string, *os.File) error {
	return func(ctx context.Context, endpoint string, f *os.File) error {
		s, err := store.OpenBucket(ctx, bucket(endpoint))
		if err != nil {
			return err
		}
		defer s.Close()
		return putFile(ctx, s, f)
	}
}

// getFrom downloads by a store.
func getFrom(bucket func(endpoint string) store.URL) func(context.Context, string, *os.File) error {
	return func(ctx context.Context, endpoint string, f *os.File) error {
		s, err := store.OpenBucket(ctx, bucket(endpoint))
		if err != nil {
			return err
		}
		defer s.Close()
		return getFile(ctx, s, f)
	}
}

// putFile stores a file as an archive.
func putFile(ctx context.Context, s store.Store, f *os.File) error {
	_, err := s.Put(ctx, transferName, func(w io.Writer) error { return copyAll(w, f) }, nil)
	return err
}

// getFile fetches an archive into a file.
func getFile(ctx context.Context, s store.Store, f *os.File) error {
	o, err := s.Open(ctx, transferName)
	if err != nil {
		return err
	}
	defer o.Close()
	return copyAll(f, o)
}

// copyAll copies generically, like a program that knows neither side.
func copyAll(w io.Writer, r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return err
}
