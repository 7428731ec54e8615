package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/workdir/workdir/store"
)

// composedSegment is how many bytes of a composed successor are new.
const composedSegment = 1 << 20

// composed is the cost of one write.
type composed struct {
	seconds        float64
	sent, requests int64 // -1 for a store without a network
}

// composeResult is a write of a whole archive, and of one that keeps most of it.
type composeResult struct {
	title string
	size  int64 // bytes
	full  composed
	kept  composed
}

// measureCompose runs a child that writes source and then composes its successor.
func measureCompose(title string, size int64, child *exec.Cmd) (r composeResult, err error) {
	r = composeResult{title: title, size: size}
	child.Stdout = nil
	out, err := child.Output()
	if err != nil {
		return r, fmt.Errorf("compose: %w", err)
	}
	_, err = fmt.Sscan(string(out), &r.full.seconds, &r.full.sent, &r.full.requests, &r.kept.seconds, &r.kept.sent, &r.kept.requests)
	return r, err
}

// composeFile is measureCompose for archives that are files, beneath a directory.
func composeFile(c config, dir string) (composeResult, error) {
	source := filepath.Join(dir, "source")
	if err := writeRandom(source, c.transfer); err != nil {
		return composeResult{}, err
	}
	return measureCompose("files, of "+dir, c.transfer, ourselves("file-compose", dir, os.Environ())(source, true))
}

// fileURL is the store of a directory, which the endpoint is the path of.
func fileURL(endpoint string) store.URL {
	return store.URL{Scheme: "file", Key: strings.TrimPrefix(endpoint, "http://")}
}

// composeIn writes the archive of a file, and its successor, and prints the cost. It does
// everything once before, so that the store's tests are done.
func composeIn(bucket func(endpoint string) store.URL) func(context.Context, string, *os.File) error {
	return func(ctx context.Context, endpoint string, f *os.File) error {
		u, key := bucket(endpoint), transferName
		if u.Key != "" {
			key = strings.TrimPrefix(u.Key+"/"+transferName, "/")
		}
		s, err := store.OpenBucket(ctx, u)
		if err != nil {
			return err
		}
		defer s.Close()
		var rev store.Revision
		for round := range 2 {
			full, err := timeWrite(s, func() (err error) {
				rev, err = putWhole(ctx, s, key, f, rev)
				return err
			})
			if err != nil {
				return err
			}
			kept, err := timeWrite(s, func() (err error) {
				rev, err = composeSuccessor(ctx, s, key)
				return err
			})
			if err != nil {
				return err
			}
			if round == 1 {
				fmt.Println(full.seconds, full.sent, full.requests, kept.seconds, kept.sent, kept.requests)
			}
		}
		return s.Delete(ctx, key, rev, nil)
	}
}

func putWhole(ctx context.Context, s store.Store, key string, f *os.File, replace store.Revision) (store.Revision, error) {
	info, err := s.Put(ctx, key, func(w io.Writer) error {
		_, err := f.Seek(0, io.SeekStart)
		return errors.Join(err, copyAll(w, f))
	}, &store.PutOptions{Replace: replace})
	return info.Revision, err
}

// composeSuccessor replaces a segment in the middle.
func composeSuccessor(ctx context.Context, s store.Store, key string) (store.Revision, error) {
	o, err := store.OpenTail(ctx, s, key, 0)
	if err != nil {
		return "", err
	}
	defer o.Close()
	middle := o.Info().Size/2 + 12_345
	segment := make([]byte, composedSegment)
	_, _ = rand.Read(segment) // never fails
	info, err := store.Compose(ctx, s, key, o, []store.Piece{
		{Len: middle},
		{Write: func(w io.Writer) error { _, err := w.Write(segment); return err }},
		{Off: middle + composedSegment, Len: o.Info().Size - middle - composedSegment},
	}, &store.PutOptions{Replace: o.Info().Revision})
	return info.Revision, err
}

// timeWrite measures a write to a store.
func timeWrite(s store.Store, write func() error) (composed, error) {
	before, start := sumTraffic(s), time.Now()
	err := write()
	c := composed{seconds: time.Since(start).Seconds(), sent: -1, requests: -1}
	if after := sumTraffic(s); after.Count > 0 {
		c.sent, c.requests = after.Sent-before.Sent, after.Count-before.Count
	}
	return c, err
}

func sumTraffic(s store.Store) (sum store.Requests) {
	for _, r := range store.TrafficOf(s) {
		sum.Count += r.Count
		sum.Sent += r.Sent
	}
	return sum
}

// renderComposes writes the table of all that composed.
func renderComposes(b *strings.Builder, results []composeResult) {
	fmt.Fprintf(b, "\n### One changed segment\n\nThe same archives, of which a run of %d MiB in the middle, at no border of anything, was replaced: what was kept did not pass through the program. Beside it a write of the whole. Requests of a composed one include the look at the archive.\n\n", composedSegment>>20)
	b.WriteString("| | archive, MiB | whole: s | MiB sent | requests | composed: s | MiB sent | requests |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(b, "| %s | %d |%s |%s |\n", r.title, r.size>>20, r.full.cells(), r.kept.cells())
	}
}

func (c composed) cells() string {
	if c.requests < 0 {
		return fmt.Sprintf(" %.3f | – | –", c.seconds)
	}
	return fmt.Sprintf(" %.2f | %.1f | %d", c.seconds, float64(c.sent)/(1<<20), c.requests)
}
