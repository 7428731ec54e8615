package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/workdir/workdir/store"
)

// points returns the numbers of bytes after which a transfer fails or is cancelled: before the
// first, after it, and at every border of parts for more parts than drivers have in flight.
func (f *fixture) points() []int {
	part := f.opts.Threshold
	return []int{0, 1, part - 1, part, part + 1, 2 * part, 3 * part, 4*part + part/2, 6*part + 1}
}

var errWanted = errors.New("the test wants this to fail")

// onBoth runs a test without an archive, and with one that must stay unchanged.
func (f *fixture) onBoth(test func(key string, replace store.Revision)) {
	f.Helper()
	test("fresh/key", "")
	f.missing("fresh/key")
	base := f.text("base")
	rev := f.put("base/key", base, "").Revision
	test("base/key", rev)
	f.holds("base/key", base, rev)
	f.clean()
	f.forget("base/key")
}

// writesThen returns a function for Put that writes n bytes and then returns the result of
// then.
func writesThen(n int, then func() error) func(io.Writer) error {
	return func(w io.Writer) error {
		for part := random(5, 1<<16); n > 0; n -= len(part) {
			part = part[:min(n, len(part))]
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return then()
	}
}

func testWriteFails(f *fixture) {
	for _, n := range f.points() {
		f.onBoth(func(key string, replace store.Revision) {
			_, err := f.store.Put(f.ctx, key, writesThen(n, func() error { return errWanted }), &store.PutOptions{Replace: replace})
			f.wantError(err, errWanted)
			if errors.Is(err, store.ErrUnknown) {
				f.Errorf("a write that failed after %d bytes is called unknown: %v", n, err)
			}
		})
	}
}

// forget removes an archive, which a later round may recreate.
func (f *fixture) forget(key string) {
	f.Helper()
	info, err := f.store.Stat(f.ctx, key)
	f.noError(err)
	f.noError(f.store.Delete(f.ctx, key, info.Revision, nil))
}

// A panic in write either passes through or becomes an error. It never stores.
func testWritePanics(f *fixture) {
	f.onBoth(func(key string, replace store.Revision) {
		err := func() (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("panic: %v", r)
				}
			}()
			_, err = f.store.Put(f.ctx, key, writesThen(100+f.size, func() error { panic(errWanted) }), &store.PutOptions{Replace: replace})
			return err
		}()
		if err == nil {
			f.Error("a write that panicked was stored")
		}
	})
}

func testCancelledBefore(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	f.onBoth(func(key string, replace store.Revision) {
		_, err := f.store.Put(ctx, key, writes(text("new")), &store.PutOptions{Replace: replace})
		f.wantError(err, context.Canceled)
		f.wantError(f.store.Delete(ctx, key, replace, nil), context.Canceled)
		_, err = f.store.Stat(ctx, key)
		f.wantError(err, context.Canceled)
		_, err = f.store.Open(ctx, key)
		f.wantError(err, context.Canceled)
		_, err = f.store.List(ctx, "base/")
		if replace != "" {
			f.wantError(err, context.Canceled)
		}
	})
}

func testCancelledDuringWrite(f *fixture) {
	for _, n := range f.points() {
		f.onBoth(func(key string, replace store.Revision) {
			ctx, cancel := context.WithCancelCause(f.ctx)
			defer cancel(nil)
			stop := func() error { cancel(errWanted); return nil }
			_, err := f.store.Put(ctx, key, writesThen(n, stop), &store.PutOptions{Replace: replace})
			f.wantError(err, context.Canceled)
			f.wantError(err, errWanted)
		})
	}
}

// An endless write ends with its context.
func testCancelledEndless(f *fixture) {
	f.onBoth(func(key string, replace store.Revision) {
		ctx, cancel := context.WithCancel(f.ctx)
		defer cancel()
		_, err := f.store.Put(ctx, key, func(w io.Writer) error {
			for n := 0; ; n++ {
				if n == 10 {
					cancel()
				}
				if _, err := w.Write(random(6, 1<<16)); err != nil {
					return err
				}
			}
		}, &store.PutOptions{Replace: replace})
		f.wantError(err, context.Canceled)
	})
}

// A context that ends in Before may be too late, but the answer must be true.
func testCancelledInBefore(f *fixture) {
	content, base := f.text("new"), f.text("base")
	for i, replace := range []store.Revision{"", f.put("1/key", base, "").Revision} {
		key := fmt.Sprintf("%d/key", i)
		ctx, cancel := context.WithCancel(f.ctx)
		before := func(context.Context) error { cancel(); return nil }
		info, err := f.store.Put(ctx, key, writes(content), &store.PutOptions{Replace: replace, Before: before})
		cancel()
		switch {
		case err == nil:
			f.holds(key, content, info.Revision)
		case errors.Is(err, store.ErrUnknown):
		case replace == "":
			f.wantError(err, context.Canceled)
			f.missing(key)
		default:
			f.wantError(err, context.Canceled)
			f.holds(key, base, replace)
		}
	}
}

// testBefore checks that Before comes after the last byte and before the archive
// is visible, that it sees the context, and that its error ends the Put.
func testBefore(f *fixture) {
	type contextKey struct{}
	ctx := context.WithValue(f.ctx, contextKey{}, "value")
	f.onBoth(func(key string, replace store.Revision) {
		written, asked := false, 0
		write := writesThen(100+f.size, func() error { written = true; return nil })
		before := func(ctx context.Context) error {
			asked++
			if !written || ctx.Value(contextKey{}) != "value" {
				f.Errorf("Before is called too early, or with another context")
			}
			f.is(key, replace)
			return errWanted
		}
		_, err := f.store.Put(ctx, key, write, &store.PutOptions{Replace: replace, Before: before})
		f.wantError(err, errWanted)
		if asked == 0 {
			f.Error("Before was not called")
		}
	})
	asked := 0
	content := f.text("content")
	info, err := f.store.Put(ctx, "agreed", writes(content), &store.PutOptions{Before: func(context.Context) error { asked++; return nil }})
	f.noError(err)
	f.holds("agreed", content, info.Revision)
	if asked == 0 {
		f.Error("Before was not called")
	}
}

// is checks that key has that revision, "" for none.
func (f *fixture) is(key string, rev store.Revision) {
	f.Helper()
	info, err := f.store.Stat(f.ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotExist) || info.Revision != rev {
		f.Errorf("%q is at revision %q, %v; want %q", key, info.Revision, err, rev)
	}
}

func testBeforeDelete(f *fixture) {
	content := text("content")
	rev := f.put("key", content, "").Revision
	err := f.store.Delete(f.ctx, "key", rev, func(context.Context) error { f.is("key", rev); return errWanted })
	f.wantError(err, errWanted)
	f.holds("key", content, rev)
	asked := false
	f.noError(f.store.Delete(f.ctx, "key", rev, func(context.Context) error { asked = true; return nil }))
	f.missing("key")
	if !asked {
		f.Error("Before was not called")
	}
}
