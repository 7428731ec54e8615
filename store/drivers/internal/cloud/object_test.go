package cloud

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/workdir/workdir/store"
)

// "Not found" is believed only of a bucket that can be looked into.
func TestNotFound(t *testing.T) {
	for _, tc := range []struct {
		meaning Meaning // of the bucket's answer
		want    error
	}{
		{NotFound, store.ErrURL},
		{NoBucket, store.ErrURL},
		{Denied, store.ErrNotAllowed},
		{Broken, store.ErrUnreachable},
	} {
		f := newFixture(t)
		for range 2 * tries {
			f.m.fails("bucket", refuse(tc.meaning))
		}
		_, err := f.s.Open(t.Context(), "none")
		if f.wantError(err, tc.want); errors.Is(err, store.ErrNotExist) {
			t.Errorf("%v is also ErrNotExist", err)
		}
		_, err = f.s.Stat(t.Context(), "none")
		f.wantError(err, tc.want)
	}
	f := newFixture(t)
	_, err := f.s.Open(t.Context(), "none")
	f.wantError(err, store.ErrNotExist)
	f.wantSent("get", "bucket")
	f.m.noBucket = true
	f.m.fails("bucket", refuse(NotFound))
	_, err = f.s.List(t.Context(), "")
	f.wantError(err, store.ErrURL)
}

// An archive of one part costs one request, whatever is done with it.
func TestRequestsOfOpen(t *testing.T) {
	f := newFixture(t)
	f.holds("key", baseContent)
	f.wantSent("get")
	o, err := f.s.Open(t.Context(), "key")
	f.noError(err)
	defer o.Close()
	p := make([]byte, 2)
	for off := range int64(3) {
		_, err = o.ReadAt(p, off)
		f.noError(err)
	}
	f.wantSent("get")

	content := large(6)
	f.noError(f.put("large", content, "", nil))
	f.m.sent()
	f.holds("large", content)
	f.wantSent("get", "get", "get", "get", "get", "get")
}

// A connection that breaks is resumed where it broke, in the same revision.
func TestReadResumes(t *testing.T) {
	f := newFixture(t)
	content := large(5)
	f.noError(f.put("large", content, "", nil))
	for i := range 40 {
		f.m.fails("get", cut(i*100_000), pass)
		if 2*i+3 < tries { // one of the readers may meet all of them, and the cut without a byte
			f.m.fails("get", refuse(Busy), refuse(unsent))
		}
	}
	f.holds("large", content)
	o, err := f.s.Open(t.Context(), "large")
	f.noError(err)
	defer o.Close()
	p := make([]byte, 1<<20)
	n, err := o.ReadAt(p, 12_345_678)
	f.noError(err)
	if n != len(p) || !bytes.Equal(p, content[12_345_678:][:n]) {
		t.Error("ReadAt returns other bytes")
	}
}

// A connection that breaks every time without a byte is given up.
func TestReadGivenUp(t *testing.T) {
	f := newFixture(t)
	f.m.fails("get", cut(2))
	for range tries {
		f.m.fails("get", cut(0))
	}
	o, err := f.s.Open(t.Context(), "key")
	f.noError(err)
	defer o.Close()
	got, err := io.ReadAll(o)
	f.wantError(err, store.ErrUnreachable)
	if string(got) != "ba" {
		t.Errorf("before that came %q", got)
	}
}

// An archive that is replaced or removed while it is read is a conflict, and no
// byte of another revision is given.
func TestReplacedWhileRead(t *testing.T) {
	for name, change := range map[string]func(f *fixture, rev store.Revision) error{
		"replaced": func(f *fixture, rev store.Revision) error { return f.put("large", large(7), rev, nil) },
		"removed":  func(f *fixture, rev store.Revision) error { return f.s.Delete(f.Context(), "large", rev, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			content := large(6)
			f.noError(f.put("large", content, "", nil))
			o, err := f.s.Open(t.Context(), "large")
			f.noError(err)
			defer o.Close()
			f.noError(change(f, o.Info().Revision))
			got, err := io.ReadAll(o)
			f.wantError(err, store.ErrConflict)
			if !bytes.HasPrefix(content, got) {
				t.Error("bytes of another revision came")
			}
			_, err = o.ReadAt(make([]byte, 10), 3*smallPart)
			f.wantError(err, store.ErrConflict)
		})
	}
}

// Close ends a Read that waits, and everything after it.
func TestClose(t *testing.T) {
	f := newFixture(t)
	f.noError(f.put("large", large(6), "", nil))
	waiting := make(chan struct{})
	f.m.fails("get", pass, func(ctx context.Context, _ func() error) error {
		close(waiting)
		<-ctx.Done()
		return ctx.Err()
	})
	o, err := f.s.Open(t.Context(), "large")
	f.noError(err)
	read := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, o)
		read <- err
	}()
	<-waiting
	f.noError(o.Close())
	f.wantError(<-read, fs.ErrClosed)
	_, err = o.Read(make([]byte, 1))
	f.wantError(err, fs.ErrClosed)
	f.noError(o.Close())
}

// The context of Open also ends the reads.
func TestReadCancelled(t *testing.T) {
	f := newFixture(t)
	f.noError(f.put("large", large(6), "", nil))
	ctx, cancel := context.WithCancelCause(t.Context())
	o, err := f.s.Open(ctx, "large")
	f.noError(err)
	defer o.Close()
	cancel(errWanted)
	_, err = o.ReadAt(make([]byte, 1), 3*smallPart)
	f.wantError(err, context.Canceled)
	f.wantError(err, errWanted)
	_, err = io.ReadAll(o)
	f.wantError(err, context.Canceled)
}
