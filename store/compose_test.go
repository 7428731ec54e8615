package store_test

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
	"golang.org/x/sys/unix"
)

// plainStore hides what its store can be besides.
type plainStore struct{ store.Store }

// distant is an archive each read of which ends only once several are under way, as those
// of a bucket that is far away had better be.
type distant struct {
	store.Object
	together int

	mu      sync.Mutex
	started []int64 // offsets; guarded by mu
	enough  chan struct{}
}

func (d *distant) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	d.started = append(d.started, off)
	if len(d.started) == d.together {
		close(d.enough)
	}
	d.mu.Unlock()
	<-d.enough
	return d.Object.ReadAt(p, off)
}

// A store that cannot compose is sent the ranges: those that touch are asked for as one,
// and several are under way at once.
func TestComposeStreams(t *testing.T) {
	const fetch = store.AheadSize
	s := plainStore{openBucket(t, "mem://streams")}
	content := make([]byte, 4*fetch)
	for i := range content {
		content[i] = byte(i >> 8)
	}
	info, err := s.Put(t.Context(), "key", writes(string(content)), nil)
	noError(t, err)
	o, err := s.Open(t.Context(), "key")
	noError(t, err)
	defer o.Close()
	base := &distant{Object: o, together: 4, enough: make(chan struct{})}
	plan := []store.Piece{{Off: 0, Len: 100}, {Off: 100, Len: 200}, {Write: writes("new")}, {Off: fetch, Len: 3 * fetch}}
	done, err := store.Compose(t.Context(), s, "key", base, plan, &store.PutOptions{Replace: info.Revision})
	noError(t, err)
	slices.Sort(base.started)
	if want := []int64{0, fetch, 2 * fetch, 3 * fetch}; !slices.Equal(base.started, want) {
		t.Errorf("the reads begin at %d, want %d", base.started, want)
	}
	got, err := s.Open(t.Context(), "key")
	noError(t, err)
	defer got.Close()
	b, err := io.ReadAll(got)
	noError(t, err)
	if want := string(content[:300]) + "new" + string(content[fetch:]); string(b) != want || done.Size != int64(len(want)) {
		t.Errorf("the successor has %d bytes, want %d; or others", len(b), len(want))
	}
}

// A read of the base that does not end does not outlive the caller's patience.
func TestComposeCancelled(t *testing.T) {
	s := plainStore{openBucket(t, "mem://cancelled")}
	info, err := s.Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	o, err := s.Open(t.Context(), "key")
	noError(t, err)
	defer o.Close()
	ctx, cancel := context.WithCancel(t.Context())
	base := &distant{Object: o, together: 2, enough: make(chan struct{})}
	plan := []store.Piece{{Write: func(io.Writer) error { cancel(); context.AfterFunc(ctx, func() { close(base.enough) }); return nil }}, {Len: 7}}
	_, err = store.Compose(ctx, s, "key", base, plan, &store.PutOptions{Replace: info.Revision})
	wantError(t, err, context.Canceled)
}

// A tool cuts the base in place while ranges are copied from it.
func TestFileComposeOfCut(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	info, err := s.Put(t.Context(), "key", writes(string(make([]byte, 1<<20))), nil)
	noError(t, err)
	o, err := s.Open(t.Context(), "key")
	noError(t, err)
	defer o.Close()
	plan := []store.Piece{{Write: func(io.Writer) error { return unix.Truncate(root+"/key.tar.gz", 1000) }}, {Len: 1 << 20}}
	_, err = store.Compose(t.Context(), s, "key", o, plan, &store.PutOptions{Replace: info.Revision})
	wantError(t, err, store.ErrConflict)
	wantTree(t, root, "key.tar.gz")
}
