package cloud

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/workdir/workdir/store"
)

// A part that was not taken is sent again.
func TestPartsAgain(t *testing.T) {
	f := newFixture(t)
	content := large(6)
	f.m.fails("part", refuse(Busy), pass, refuse(Broken), loseAnswer, refuse(unsent))
	f.m.fails("upload", refuse(Busy))
	f.noError(f.put("key", content, f.base.Revision, nil))
	f.holds("key", content)
}

// Whichever part is refused for good, or at whichever part the upload is cancelled, the upload
// is given up and the archive is what it was.
func TestUploadGivenUp(t *testing.T) {
	const parts = 5
	for n := range parts {
		f := newFixture(t)
		passed := slices.Repeat([]fault{pass}, n)
		f.m.fails("part", append(passed, refuse(Denied))...)
		f.wantError(f.put("key", large(parts), f.base.Revision, nil), store.ErrNotAllowed)
		f.holds("key", baseContent)

		f = newFixture(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		f.m.fails("part", append(passed, func(_ context.Context, do func() error) error {
			cancel(errWanted)
			return do()
		})...)
		err := f.putContext(ctx, "key", large(parts), f.base.Revision, nil)
		f.wantError(err, context.Canceled)
		f.wantError(err, errWanted)
		f.holds("key", baseContent)
		cancel(nil)
	}
}

// A part is sent by a goroutine of its own, whose panic ended the process.
func TestPartThatPanics(t *testing.T) {
	f := newFixture(t)
	f.m.fails("part", pass, func(context.Context, func() error) error { panic("an answer without a header") })
	f.wantError(f.put("key", large(3), f.base.Revision, nil), store.ErrUnreachable)
	f.holds("key", baseContent)
}

// An upload that cannot be given up at first is, at last.
func TestAbortAgain(t *testing.T) {
	f := newFixture(t)
	f.m.fails("abort", refuse(Busy), refuse(Broken))
	f.m.fails("complete", refuse(Denied))
	f.wantError(f.put("key", large(2), f.base.Revision, nil), store.ErrNotAllowed)
	f.holds("key", baseContent)
}

// No more parts are under way, and so in memory, than is said.
func TestPartsInFlight(t *testing.T) {
	for allowed, want := range map[int]int64{1: 1, 2: 2, 100: UploadParts} {
		f := newFixture(t)
		f.m.parallel = allowed
		var now, most atomic.Int64
		watched := func(_ context.Context, do func() error) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			return do()
		}
		for range 12 {
			f.m.fails("part", watched)
		}
		f.noError(f.put("key", large(12), f.base.Revision, nil))
		if most.Load() > want {
			t.Errorf("%d parts at once, want %d", most.Load(), want)
		}
	}
}

// From where parts are large, fewer of them are in memory.
func TestLargePartsInFlight(t *testing.T) {
	f := newFixture(t)
	u := &memoryUpload{m: f.m, parts: map[int][]byte{}}
	sender := newSender(t.Context(), f.s, u, nil)
	defer sender.abort()
	release := make(chan struct{})
	defer close(release)
	f.noError(sender.send(smallParts, []byte("small")))
	sender.parts.Wait()
	for range UploadParts / 2 {
		f.m.fails("part", func(context.Context, func() error) error { <-release; return nil })
	}
	for n := range UploadParts / 2 {
		f.noError(sender.send(smallParts+1+n, []byte("large")))
	}
	select {
	case sender.slots <- struct{}{}:
		t.Error("there is a place for one more large part")
	default:
	}
	if PartSize(smallParts) >= PartSize(smallParts+1) {
		t.Error("large parts are not larger")
	}
}

// The requests of a write are as few as the documents say.
func TestRequestsOfPut(t *testing.T) {
	f := newFixture(t)
	f.noError(f.put("key", []byte("new"), f.base.Revision, nil))
	f.wantSent("put")
	f.noError(f.put("key", large(1), f.stat("key").Revision, nil))
	f.wantSent("head", "put")
	f.m.parallel = 1
	f.noError(f.put("key", large(3), f.stat("key").Revision, nil))
	f.wantSent("head", "upload", "part", "part", "part", "complete")
	f.noError(f.delete("key"))
	f.wantSent("head", "head", "delete")
}

// A small archive costs little memory: many are written at once.
func TestBufferGrows(t *testing.T) {
	if got := cap(grow(nil, 100, smallPart)); got > 64<<10 {
		t.Errorf("100 bytes take a buffer of %d", got)
	}
	if got := cap(grow(make([]byte, 7<<20), 1, smallPart)); got > smallPart {
		t.Errorf("a part takes a buffer of %d", got)
	}
}

// The error of the caller's own function means what it means to the caller, even if
// it is one of another store.
func TestErrorOfWrite(t *testing.T) {
	f := newFixture(t)
	theirs := &store.Error{Op: "read", Object: "another", Kind: store.ErrNotAllowed}
	_, err := f.s.Put(t.Context(), "key", func(io.Writer) error { return theirs }, nil)
	f.wantError(err, store.ErrNotAllowed)
	if want := "put memory://bucket/key: read another: not allowed"; err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
}

func TestKeys(t *testing.T) {
	f := newFixture(t)
	longest := strings.Repeat("x", maxName-len(suffix))
	f.noError(f.put(longest, []byte("content"), "", nil))
	f.holds(longest, []byte("content"))
	for _, key := range []string{longest + "x", "\xff", "a/../b", ".", "", "a/"} {
		f.wantError(f.put(key, nil, "", nil), store.ErrURL)
	}
}

// The object of a store with a prefix is where the prefix says.
func TestPrefix(t *testing.T) {
	f := newFixture(t)
	part, ok := NewStore(f.m, "part/", nil).(*cloudStore)
	if !ok {
		t.Fatal("NewStore gives another type")
	}
	f.s = part
	f.noError(f.put("dir/key", []byte("content"), "", nil))
	f.holds("dir/key", []byte("content"))
	infos, err := f.s.List(t.Context(), "dir/")
	f.noError(err)
	if len(infos) != 1 || infos[0].Key != "dir/key" || f.m.objects["part/dir/key.tar.gz"].Size == 0 {
		t.Errorf("listed: %+v", infos)
	}
}

// What a refusal means is told by the kind of the error.
func TestRefusals(t *testing.T) {
	for meaning, want := range meanings {
		if meaning == NotFound || meaning == OutOfRange {
			continue // their tests are those of reading
		}
		f := newFixture(t)
		for range tries {
			f.m.fails("head", refuse(meaning))
		}
		_, err := f.s.Stat(t.Context(), "key")
		if !errors.Is(err, want.kind) || !strings.HasPrefix(err.Error(), "stat memory://bucket/key: ") {
			t.Errorf("a refusal that means %d returns %v, want %v", meaning, err, want.kind)
		}
	}
}

// composed makes a successor of "key" in which a run in the middle is new.
func (f *fixture) composed(content []byte) (want []byte, err error) {
	f.Helper()
	o, err := f.s.OpenTail(f.Context(), "key", 0)
	f.noError(err)
	defer o.Close()
	added, from, to := []byte("new bytes"), len(content)/2, len(content)/2+1000
	f.m.sent()
	_, err = store.Compose(f.Context(), f.s, "key", o, []store.Piece{
		{Len: int64(from)}, {Write: func(w io.Writer) error { _, err := w.Write(added); return err }}, {Off: int64(to), Len: int64(len(content) - to)},
	}, &store.PutOptions{Replace: o.Info().Revision})
	return slices.Concat(content[:from], added, content[to:]), err
}

// largeBase is a fixture whose "key" is worth copying parts of.
func largeBase(t *testing.T) (*fixture, []byte) {
	t.Helper()
	f, content := newFixture(t), large(3)
	f.noError(f.put("key", content, f.base.Revision, nil))
	_, err := f.composed(content) // so that copies are probed
	f.noError(err)
	f.noError(f.put("key", content, f.stat("key").Revision, nil))
	return f, content
}

// What is kept of an archive is copied by the store, in pieces that it takes; the new part is
// made as large as it has to be from what follows it.
func TestComposeCopies(t *testing.T) {
	f, content := largeBase(t)
	want, err := f.composed(content)
	f.noError(err)
	sent := f.m.sent()
	slices.Sort(sent)
	if want := []string{"complete", "copy", "copy", "copy", "copy", "copy", "get", "part", "upload"}; !slices.Equal(sent, want) {
		t.Errorf("the requests are %q, want %q", sent, want)
	}
	f.holds("key", want)
}

// A part copy that the server refuses, or whose condition it ignores, was the end of the
// commit, or could have mixed two revisions. The bytes go another way, and the copy is not
// tried again.
func TestComposeStreamsWhatIsNotCopied(t *testing.T) {
	for name, fail := range map[string]func(*fixture){
		"refused":               func(f *fixture) { f.m.fails("copy", pass, refuse(Unsupported)) },
		"denied":                func(f *fixture) { f.m.fails("copy", refuse(Denied)) },
		"ignores its condition": func(f *fixture) { f.m.endpoint += " again"; f.m.copiesAny = true },
	} {
		f, content := largeBase(t)
		fail(f)
		want, err := f.composed(content)
		f.noError(err)
		f.holds("key", want)
		f.m.sent()
		want, err = f.composed(want)
		f.noError(err)
		if slices.Contains(f.m.sent(), "copy") {
			t.Errorf("%s: a part is copied all the same", name)
		}
		f.holds("key", want)
	}
}

// A base that is replaced or removed while its parts are copied is a conflict.
func TestComposeOfReplaced(t *testing.T) {
	for meaning, other := range map[Meaning]string{Changed: "another", NotFound: ""} {
		f, content := largeBase(t)
		f.m.fails("copy", pass, func(_ context.Context, do func() error) error {
			f.m.mu.Lock()
			delete(f.m.objects, "key.tar.gz")
			if other != "" {
				_, _ = f.m.storeLocked("key.tar.gz", []byte(other), Condition{})
			}
			f.m.mu.Unlock()
			return refusalError(meaning)
		})
		_, err := f.composed(content)
		if !errors.As(err, new(*store.ConflictError)) {
			t.Errorf("%q: the error is %v", other, err)
		}
		if other != "" {
			f.holds("key", []byte(other))
		}
	}
}
