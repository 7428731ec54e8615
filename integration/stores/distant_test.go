package stores

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// latency is that of a bucket some hundred miles away.
const latency = 20 * time.Millisecond

// quorum holds back the requests that come while it is shut, until as many as it waits for
// are under way at once.
type quorum struct {
	shut    atomic.Bool
	missing atomic.Int32
	open    chan struct{}
}

func newQuorum(requests int32) *quorum {
	q := &quorum{open: make(chan struct{})}
	q.missing.Store(requests)
	return q
}

// choose is for NewProxy. A request whose sender gives up goes on.
func (q *quorum) choose(r *http.Request) Fault {
	if !q.shut.Load() {
		return None
	}
	if q.missing.Add(-1) == 0 {
		close(q.open)
	}
	select {
	case <-q.open:
	case <-r.Context().Done():
	}
	return None
}

// openDistant opens what is stored as key of a bucket, through a proxy. The objects of the
// returned store can be read for as long as t runs, or for a minute.
func openDistant(tb testing.TB, s *Server, p *Proxy, bucket string) store.Store {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	if s.Kind == GS {
		tb.Setenv("STORAGE_EMULATOR_HOST", p.Address)
	}
	opened, err := openURL(ctx, s.urlAt(p.Address, bucket, ""))
	noError(tb, err)
	tb.Cleanup(func() { _ = opened.Close() }) // what was read stays read
	return opened
}

// Each range of an open archive is one request, however long it is and wherever it begins;
// as many as are asked for are under way at once; and all are of the revision that was
// opened. A reader of segments relies on this: it asks for adjacent ones by one range.
func TestRangedReads(t *testing.T) {
	const ranges, length = 6, 100_000
	content := make([]byte, ranges*length*2)
	_, _ = rand.Read(content) // never fails
	onEach(t, func(t *testing.T, s *Server) {
		bucket := newBucket(t, s)
		noError(t, s.client.put(t.Context(), bucket, "k.tar.gz", content))
		q := newQuorum(ranges)
		p, err := NewProxy(s, q.choose)
		noError(t, err)
		defer func() { noError(t, p.Close()) }()
		p.Latency = latency
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o, err := store.OpenTail(ctx, openDistant(t, s, p, bucket), "k", 0)
		noError(t, err)
		defer o.Close()
		opened := p.Met()[None]

		q.shut.Store(true)
		errs := make(chan error, ranges)
		for i := range ranges {
			go func() { errs <- sameRange(o, content, int64(i*length*2), length) }()
		}
		for range ranges {
			if err := <-errs; err != nil {
				t.Errorf("%d ranges at once: %v", ranges, err)
			}
		}
		if err := sameRange(o, content, 0, len(content)); err != nil {
			t.Errorf("all of it at once: %v", err)
		}
		if got := p.Met()[None] - opened; got != ranges+1 {
			t.Errorf("%d ranges took %d requests", ranges+1, got)
		}

		other := bytes.Clone(content)
		other[0]++
		noError(t, s.client.put(t.Context(), bucket, "k.tar.gz", other))
		if err := sameRange(o, content, length, length); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a range after the archive was replaced: %v, want ErrConflict", err)
		}
	})
}

// sameRange reads length bytes from off, and compares them.
func sameRange(o store.Object, content []byte, off int64, length int) error {
	got := make([]byte, length)
	if n, err := o.ReadAt(got, off); n < length {
		return err
	}
	if !bytes.Equal(got, content[off:][:length]) {
		return errors.New("other bytes came")
	}
	return nil
}

// What a reader of a distant bucket waits for: all of an archive of 32 MiB, from its
// beginning to its end, and its log alone.
func BenchmarkDistant(b *testing.B) {
	content, err := pack(b.Context(), nil, 32<<20)
	noError(b, err)
	for _, kind := range Kinds {
		s := servers[kind]
		bucket := newBucket(b, s)
		noError(b, s.client.put(b.Context(), bucket, "k.tar.gz", content.bytes))
		p, err := NewProxy(s, func(*http.Request) Fault { return None })
		noError(b, err)
		defer p.Close()
		p.Latency = latency
		b.Run(string(kind)+"/all", func(b *testing.B) {
			benchmarkReader(b, p, openDistant(b, s, p, bucket), func(o store.Object) error {
				_, err := io.Copy(io.Discard, o)
				return err
			})
		})
		b.Run(string(kind)+"/log", func(b *testing.B) {
			benchmarkReader(b, p, openDistant(b, s, p, bucket), func(o store.Object) error {
				_, err := archive.ReadLog(o, o.Info().Size)
				return err
			})
		})
	}
}

func benchmarkReader(b *testing.B, p *Proxy, from store.Store, read func(store.Object) error) {
	before := p.Met()[None]
	for b.Loop() {
		o, err := from.Open(b.Context(), "k")
		noError(b, err)
		noError(b, read(o))
		_ = o.Close() // it was read
	}
	b.ReportMetric(float64(p.Met()[None]-before)/float64(b.N), "requests/op")
}
