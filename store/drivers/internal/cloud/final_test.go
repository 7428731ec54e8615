package cloud

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/workdir/workdir/store"
)

// fixture is a store over a memory, in which "key" has an archive.
type fixture struct {
	*testing.T
	m    *memory
	s    *cloudStore
	base store.Info
}

var (
	baseContent = []byte("base")
	errWanted   = errors.New("the test wants this to fail")
)

func newFixture(t *testing.T) *fixture {
	t.Helper()
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	f.noError(f.put("key", baseContent, "", nil))
	f.noError(f.put("large", large(2), "", nil)) // so that all is probed
	f.noError(f.delete("large"))
	f.base = f.stat("key")
	f.m.sent()
	return f
}

// large returns an archive of n parts.
func large(n int) []byte { return bytes.Repeat([]byte("large.."), n*smallPart/7) }

func (f *fixture) noError(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantError(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("the error is %v, want %v", err, want)
	}
}

func (f *fixture) put(key string, content []byte, replace store.Revision, before func(context.Context) error) error {
	return f.putContext(f.Context(), key, content, replace, before)
}

func (f *fixture) putContext(ctx context.Context, key string, content []byte, replace store.Revision, before func(context.Context) error) error {
	_, err := f.s.Put(ctx, key, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}, &store.PutOptions{Replace: replace, Before: before})
	return err
}

func (f *fixture) delete(key string) error {
	f.Helper()
	return f.s.Delete(f.Context(), key, f.stat(key).Revision, nil)
}

func (f *fixture) stat(key string) store.Info {
	f.Helper()
	info, err := f.s.Stat(f.Context(), key)
	f.noError(err)
	return info
}

// holds checks what key's archive is, and that there is no litter.
func (f *fixture) holds(key string, content []byte) {
	f.Helper()
	o, err := f.s.Open(f.Context(), key)
	f.noError(err)
	defer o.Close()
	got, err := io.ReadAll(o)
	f.noError(err)
	if !bytes.Equal(got, content) {
		f.Fatalf("%q holds %d bytes, want %d", key, len(got), len(content))
	}
	if litter := f.m.litter(); len(litter) > 0 {
		f.Fatalf("left at the store: %q", litter)
	}
}

// wantSent checks which requests were made since the last look.
func (f *fixture) wantSent(want ...string) {
	f.Helper()
	if got := f.m.sent(); !slices.Equal(got, want) {
		f.Fatalf("the requests are %q, want %q", got, want)
	}
}

// A request whose answer was lost is sent again only if nobody minds who has looked.
func TestFinalLooksBeforeItSendsAgain(t *testing.T) {
	for _, looked := range []error{nil, errWanted} {
		for kind, content := range map[string][]byte{"put": []byte("new"), "complete": large(3)} {
			f := newFixture(t)
			f.m.fails(kind, refuse(Broken))
			asked := 0
			_, err := f.s.Put(t.Context(), "key", func(w io.Writer) error { _, err := w.Write(content); return err }, &store.PutOptions{
				Replace: f.base.Revision,
				Lost:    func(context.Context, error) error { asked++; return looked },
			})
			if !errors.Is(err, looked) || asked != 1 {
				t.Errorf("%s: asked %d times, and the error is %v, want %v", kind, asked, err, looked)
			}
			if looked != nil {
				f.wantError(err, store.ErrUnknown)
				content = baseContent
			}
			f.holds("key", content)
		}
	}
}

// What becomes of the one request that makes a write visible decides what the
// caller is told: for each content, the request's kind is another one.
func TestFinalRequest(t *testing.T) {
	replacedBy := func(content string) fault {
		return func(context.Context, func() error) error { return errors.Join(refusalError(Busy), errors.New(content)) }
	}
	for _, tc := range []struct {
		name   string
		faults []fault
		want   error // nil: stored
		stored bool
	}{
		{"done", nil, nil, true},
		{"busy once", []fault{refuse(Busy)}, nil, true},
		{"no connection once", []fault{refuse(unsent)}, nil, true},
		{"no connection", []fault{refuse(unsent), refuse(unsent), refuse(unsent)}, store.ErrUnreachable, false},
		{"request lost once", []fault{refuse(Broken)}, nil, true},
		{"answer lost", []fault{loseAnswer}, store.ErrUnknown, true},
		{"answer lost for ever", []fault{refuse(Broken), refuse(Broken), refuse(Broken)}, store.ErrUnknown, false},
		{"busy for ever", []fault{replacedBy("a"), refuse(Busy), refuse(Busy)}, store.ErrUnknown, false},
		{"changed", []fault{refuse(Changed)}, store.ErrConflict, false},
		{"gone", []fault{refuse(NotFound)}, store.ErrConflict, false},
		{"changed after a lost request", []fault{refuse(Broken), refuse(Changed)}, store.ErrUnknown, false},
		{"denied", []fault{refuse(Denied)}, store.ErrNotAllowed, false},
		{"denied after a lost request", []fault{refuse(Broken), refuse(Denied)}, store.ErrUnknown, false},
		{"full", []fault{refuse(Full)}, store.ErrFull, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for kind, content := range map[string][]byte{"put": []byte("new"), "complete": large(3)} {
				f := newFixture(t)
				f.m.fails(kind, tc.faults...)
				err := f.put("key", content, f.base.Revision, nil)
				if !errors.Is(err, tc.want) || tc.want != store.ErrUnknown && errors.Is(err, store.ErrUnknown) {
					t.Fatalf("%s: the error is %v, want %v", kind, err, tc.want)
				}
				if !tc.stored {
					content = baseContent
				}
				f.holds("key", content)
			}
		})
	}
}

// Somebody else's commit is found behind a store that is busy.
func TestBusyWithAnother(t *testing.T) {
	f := newFixture(t)
	other := []byte("another")
	f.m.fails("put", func(_ context.Context, do func() error) error {
		f.m.mu.Lock()
		defer f.m.mu.Unlock()
		_, err := f.m.storeLocked("key.tar.gz", other, Condition{Replace: f.base.Revision})
		return errors.Join(err, refusalError(Busy))
	}, refuse(Busy), refuse(Busy))
	var conflict *store.ConflictError
	if err := f.put("key", []byte("new"), f.base.Revision, nil); !errors.As(err, &conflict) {
		t.Fatalf("the error is %v, want a conflict", err)
	}
	if now := f.stat("key").Revision; conflict.Want != f.base.Revision || conflict.Have != now || conflict.Key != "key" {
		t.Fatalf("the conflict is %+v, the archive at %s", conflict, now)
	}
	f.holds("key", other)
}

// A final request that is under way when the caller's context ends is waited for,
// because its outcome would be unknown; but not for ever.
func TestCancelledWhileFinal(t *testing.T) {
	for _, kind := range []string{"put", "complete"} {
		content := map[string][]byte{"put": []byte("new"), "complete": large(2)}[kind]
		for name, tc := range map[string]struct {
			answer func(ctx context.Context, do func() error) error
			want   error
		}{
			"answered": {pass, nil},
			"never answered": {func(ctx context.Context, _ func() error) error {
				<-ctx.Done()
				return ctx.Err()
			}, store.ErrUnknown},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				f := newFixture(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				f.m.fails(kind, func(ctx context.Context, do func() error) error {
					cancel()
					return tc.answer(ctx, do)
				})
				err := f.putContext(ctx, "key", content, f.base.Revision, nil)
				f.wantError(err, tc.want)
				if tc.want != nil {
					f.wantError(err, context.Canceled)
				}
			})
		}
	}
}

// Before is asked before each sending, and its no is final.
func TestBeforeEachSending(t *testing.T) {
	f := newFixture(t)
	f.m.fails("put", refuse(Busy), refuse(Busy))
	asked := 0
	err := f.put("key", []byte("new"), f.base.Revision, func(context.Context) error {
		if asked++; asked == 3 {
			return errWanted
		}
		return nil
	})
	f.wantError(err, errWanted)
	if errors.Is(err, store.ErrUnknown) || asked != 3 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	f.wantSent("put", "put")
	f.holds("key", baseContent)

	f.m.fails("put", refuse(Broken))
	asked = 1
	err = f.put("key", []byte("new"), f.base.Revision, func(context.Context) error {
		if asked++; asked == 3 {
			return errWanted
		}
		return nil
	})
	f.wantError(err, errWanted)
	f.wantError(err, store.ErrUnknown)
}

func TestDelete(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults []fault
		want   error
		gone   bool
	}{
		{"done", nil, nil, true},
		{"busy once", []fault{refuse(Busy)}, nil, true},
		{"answer lost", []fault{loseAnswer}, store.ErrUnknown, true},
		{"gone meanwhile", []fault{refuse(NotFound)}, store.ErrConflict, false},
		{"changed meanwhile", []fault{refuse(Changed)}, store.ErrConflict, false},
		{"denied", []fault{refuse(Denied)}, store.ErrNotAllowed, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			f.m.fails("delete", tc.faults...)
			f.wantError(f.delete("key"), tc.want)
			if tc.gone {
				_, err := f.s.Stat(t.Context(), "key")
				f.wantError(err, store.ErrNotExist)
				return
			}
			f.holds("key", baseContent)
		})
	}
}
