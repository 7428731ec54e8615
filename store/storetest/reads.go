package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing/iotest"

	"github.com/workdir/workdir/store"
)

func testRead(f *fixture) {
	content := random(1, 300_000)
	f.put("key", content, "")
	o, err := f.store.Open(f.ctx, "key")
	f.noError(err)
	f.noError(iotest.TestReader(struct{ io.Reader }{o}, content))
	f.noError(o.Close())
	f.readsAt("key", content)
}

// readsAt checks ReadAt from several goroutines, including at the borders.
func (f *fixture) readsAt(key string, content []byte) {
	f.Helper()
	o, err := f.store.Open(f.ctx, key)
	f.noError(err)
	defer o.Close()
	size := int64(len(content))
	for _, tc := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{
		{0, 1, 1, nil},
		{size - 10, 9, 9, nil},
		{size - 10, 11, 10, io.EOF},
		{size, 1, 0, io.EOF},
		{size + 1000, 1, 0, io.EOF},
		{0, 0, 0, nil},
	} {
		p := make([]byte, tc.n)
		n, err := o.ReadAt(p, tc.off)
		if n != tc.want || !errors.Is(err, tc.err) || n > 0 && !bytes.Equal(p[:n], content[tc.off:tc.off+int64(n)]) {
			f.Errorf("ReadAt of %d bytes at %d returns %d, %v; want %d, %v, or other bytes", tc.n, tc.off, n, err, tc.want, tc.err)
		}
	}
	for _, o := range f.race(4, func(i int) outcome {
		return outcome{err: readAtRandom(o, content, uint64(i))}
	}) {
		f.noError(o.err)
	}
}

func readAtRandom(r io.ReaderAt, content []byte, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, 1<<16)
	for range 20 {
		off := rng.IntN(len(content))
		n, err := r.ReadAt(p[:1+rng.IntN(len(p))], int64(off))
		if err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(p[:n], content[off:off+n]) {
			return errors.New("ReadAt returns other bytes")
		}
	}
	return nil
}

func testBig(f *fixture) {
	const size = 64 << 20
	content := random(2, size)
	info, err := f.store.Put(f.ctx, "big", func(w io.Writer) error {
		_, err := io.Copy(struct{ io.Writer }{w}, bytes.NewReader(content))
		return err
	}, nil)
	f.noError(err)
	if info.Size != size {
		f.Fatalf("Put returns a size of %d bytes, want %d", info.Size, size)
	}
	o, err := f.store.Open(f.ctx, "big")
	f.noError(err)
	defer o.Close()
	h := sha256.New()
	_, err = io.Copy(h, o)
	f.noError(err)
	if [sha256.Size]byte(h.Sum(nil)) != sha256.Sum256(content) {
		f.Fatal("another 64 MiB came back")
	}
	f.readsAt("big", content)
}

// pattern returns an archive whose bytes are all b.
func (f *fixture) pattern(b byte) []byte { return bytes.Repeat([]byte{b}, max(f.size, 1<<20)) }

func testReaders(f *fixture) {
	rev := f.put("key", f.pattern(0), "").Revision
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				f.readsOneRevision("key")
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range f.rounds() {
		info, err := f.store.Put(f.ctx, "key", writes(f.pattern(byte(i+1))), &store.PutOptions{Replace: rev})
		if err != nil {
			f.Error(err)
			break
		}
		rev = info.Revision
	}
	close(done)
	readers.Wait()
}

// readsOneRevision reads an archive of a pattern, which others replace.
func (f *fixture) readsOneRevision(key string) {
	o, err := f.store.Open(f.ctx, key)
	if err != nil {
		f.Error(err)
		return
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil {
		if f.opts.Pinned {
			f.Errorf("a replaced archive could not be read on: %v", err)
		}
		return
	}
	if len(got) == 0 || !bytes.Equal(got, f.pattern(got[0])) {
		f.Errorf("%d bytes of more than one revision", len(got))
	}
}

func testReplacedWhileOpen(f *fixture) {
	content := random(3, 1<<20+2*f.size)
	first := f.put("key", content, "")
	o, err := f.store.Open(f.ctx, "key")
	f.noError(err)
	defer o.Close()
	half := make([]byte, len(content)/2)
	_, err = io.ReadFull(o, half)
	f.noError(err)
	second := f.put("key", random(4, 1<<20+2*f.size), first.Revision)
	f.readsOn(o, half, content)
	f.noError(f.store.Delete(f.ctx, "key", second.Revision, nil))
	p := make([]byte, 1000)
	_, err = o.ReadAt(p, 12345)
	if err == nil && !bytes.Equal(p, content[12345:13345]) {
		f.Error("ReadAt after a delete returns other bytes")
	}
	if err != nil && f.opts.Pinned {
		f.Errorf("ReadAt after a delete: %v", err)
	}
}

// readsOn checks that the unread rest of o is the rest of content, or, for stores that do not
// pin, an error.
func (f *fixture) readsOn(o store.Object, half, content []byte) {
	f.Helper()
	rest, err := io.ReadAll(o)
	if err != nil && !f.opts.Pinned {
		return
	}
	f.noError(err)
	if !bytes.Equal(append(half, rest...), content) {
		f.Error("the rest of a replaced archive was not that of the opened revision")
	}
}

// A read whose context ends returns an error, or continues correctly; it never returns other
// bytes and never seems complete before its end.
func testReadCancelled(f *fixture) {
	content := random(7, 5*f.opts.Threshold)
	f.put("key", content, "")
	for _, n := range f.points() {
		f.readCancelled("key", content, min(n, len(content)))
	}
}

// readCancelled reads n bytes and ends the context.
func (f *fixture) readCancelled(key string, content []byte, n int) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	o, err := f.store.Open(ctx, key)
	f.noError(err)
	defer o.Close()
	first := make([]byte, n)
	_, err = io.ReadFull(o, first)
	f.noError(err)
	cancel()
	rest, err := io.ReadAll(o)
	if !bytes.HasPrefix(content[n:], rest) || !bytes.Equal(first, content[:n]) {
		f.Errorf("a read that was cancelled after %d bytes returns other bytes", n)
	}
	switch {
	case err == nil && n+len(rest) != len(content):
		f.Errorf("a read that was cancelled after %d bytes ends at %d of %d as if that were all", n, n+len(rest), len(content))
	case err != nil:
		f.wantError(err, context.Canceled)
	}
	p := make([]byte, 1000)
	got, err := o.ReadAt(p, int64(len(content)-len(p)))
	if !bytes.Equal(p[:got], content[len(content)-len(p):][:got]) {
		f.Error("ReadAt of a cancelled object returns other bytes")
	}
	if err != nil && err != io.EOF {
		f.wantError(err, context.Canceled)
	}
}
