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

// Whatever part is refused for good, and whoever cancels at whatever part, the
// upload is given up and the archive is what it was.
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
	sender := newSender(t.Context(), f.s, u)
	defer sender.abort()
	release := make(chan struct{})
	defer close(release)
	f.noError(sender.send(smallParts, []byte("small")))
	sender.parts.Wait()
	for range largeParts {
		f.m.fails("part", func(context.Context, func() error) error { <-release; return nil })
	}
	for n := range largeParts {
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
	part, ok := NewStore(f.m, &Options{Prefix: "part/"}).(*cloudStore)
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
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "stat memory://bucket/key: ") {
			t.Errorf("a refusal that means %d gives %v, want %v", meaning, err, want)
		}
	}
}
