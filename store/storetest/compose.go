package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/workdir/workdir/store"
)

// plan is a plan written as its pieces: ranges, or new bytes.
type plan []any

type span struct{ off, n int }

// pieces returns the plan for Compose, and its expected result from base.
func (p plan) pieces(base []byte) (pieces []store.Piece, want []byte) {
	for _, piece := range p {
		switch piece := piece.(type) {
		case span:
			pieces = append(pieces, store.Piece{Off: int64(piece.off), Len: int64(piece.n)})
			want = append(want, base[piece.off:piece.off+piece.n]...)
		case []byte:
			pieces = append(pieces, store.Piece{Write: writes(piece)})
			want = append(want, piece...)
		}
	}
	return pieces, want
}

// compose makes the successor of the current archive.
func (f *fixture) compose(key string, pieces []store.Piece, opts *store.PutOptions) (store.Info, error) {
	f.Helper()
	o, err := f.store.Open(f.ctx, key)
	f.noError(err)
	defer o.Close()
	return store.Compose(f.ctx, f.store, key, o, pieces, opts)
}

// testCompose makes archives from ranges at, before and after the borders of blocks and of
// parts.
func testCompose(f *fixture) {
	part := f.opts.Threshold
	size := 3*part + 4096 + 7
	base, added := random(8, size), random(9, part+13)
	for i, p := range []plan{
		{},
		{span{0, size}},
		{span{size - 1, 1}, span{0, 1}},
		{added},
		{span{0, 4096}, span{4096, part}, added[:10], span{part, 2 * part}},
		{added[:1], span{0, part + 1}, span{0, 0}, span{0, part + 1}, added},
		{span{100, part}, added[:4096-100], span{4096, part - 1}, added[:7], span{2*part + 7, part + 4096}},
		{span{1, 2 * part}, added[:part], span{part, part}, span{2 * part, part}, added[:5]},
	} {
		key := fmt.Sprintf("key-%d", i)
		rev := f.put(key, base, "").Revision
		pieces, want := p.pieces(base)
		info, err := f.compose(key, pieces, &store.PutOptions{Replace: rev})
		f.noError(err)
		if info.Size != int64(len(want)) || info.Key != key || info.ModTime.IsZero() {
			f.Fatalf("Compose returns %+v of %d bytes", info, len(want))
		}
		f.holds(key, want, info.Revision)
		f.forget(key)
	}
}

// testComposeConflicts tests the condition of Compose: nothing is stored if the base is not
// the current archive, or not the one to be replaced.
func testComposeConflicts(f *fixture) {
	base := f.put("key", f.text("base"), "")
	keep := []store.Piece{{Len: base.Size}, {Write: writes(f.text("more"))}}
	_, err := f.compose("key", keep, nil)
	f.wantConflict(err, "", base.Revision)
	_, err = f.compose("key", keep, &store.PutOptions{Replace: "another"})
	f.wantConflict(err, "another", base.Revision)
	o, err := f.store.Open(f.ctx, "key")
	f.noError(err)
	defer o.Close()
	next := f.text("next")
	now := f.put("key", next, base.Revision)
	_, err = store.Compose(f.ctx, f.store, "key", o, keep, &store.PutOptions{Replace: base.Revision})
	f.wantError(err, store.ErrConflict)
	f.holds("key", next, now.Revision)
	for _, p := range []store.Piece{{Off: -1}, {Len: -1}, {Off: base.Size, Len: 1}, {Off: base.Size + 1}, {Off: 1, Len: base.Size}, {Off: 1, Len: 1<<63 - 1}} {
		if _, err := store.Compose(f.ctx, f.store, "key", o, []store.Piece{p}, &store.PutOptions{Replace: base.Revision}); err == nil {
			f.Errorf("%+v of a base of %d bytes is no error", p, base.Size)
		}
	}
	if _, err := store.Compose(f.ctx, f.store, "none", nil, keep, nil); err == nil {
		f.Error("a range of no base is no error")
	}
	f.holds("key", next, now.Revision)
}

// testComposeReplaced replaces the base at every moment of a Compose: the outcome is a
// conflict, and the archive committed meanwhile stays.
func testComposeReplaced(f *fixture) {
	part := int64(f.opts.Threshold)
	for _, at := range []int{0, 1, 2} {
		key := fmt.Sprintf("key-%d", at)
		base := f.put(key, random(10, int(4*part)), "")
		other := f.text("other")
		var now store.Info
		var plan []store.Piece
		for i := range 3 {
			plan = append(plan, store.Piece{Off: int64(i) * part, Len: part}, store.Piece{Write: func(w io.Writer) error {
				if i == at && now.Revision == "" {
					now = f.put(key, other, base.Revision)
				}
				_, err := w.Write([]byte("new"))
				return err
			}})
		}
		_, err := f.compose(key, plan, &store.PutOptions{Replace: base.Revision})
		f.wantError(err, store.ErrConflict)
		f.holds(key, other, now.Revision)
		f.forget(key)
	}
}

// testComposeRace composes several times concurrently from one base.
func testComposeRace(f *fixture) {
	const writers = 8
	content := random(11, max(f.size, 100<<10))
	rev := f.put("key", content, "").Revision
	type outcome struct {
		want []byte
		info store.Info
		err  error
	}
	outcomes := make(chan outcome, writers)
	for range writers {
		go func() {
			own := text("new")
			pieces, want := plan{span{4096, len(content) - 5000}, own, span{0, 4096}}.pieces(content)
			o, err := f.store.Open(f.ctx, "key")
			if err != nil {
				outcomes <- outcome{err: err}
				return
			}
			defer o.Close()
			info, err := store.Compose(f.ctx, f.store, "key", o, pieces, &store.PutOptions{Replace: rev})
			outcomes <- outcome{want, info, err}
		}()
	}
	var won []outcome
	for range writers {
		if o := <-outcomes; o.err == nil {
			won = append(won, o)
		} else if !errors.Is(o.err, store.ErrConflict) {
			f.Errorf("the error is %v, want a conflict", o.err)
		}
	}
	if len(won) != 1 {
		f.Fatalf("%d of %d have won", len(won), writers)
	}
	f.holds("key", won[0].want, won[0].info.Revision)
}

// testComposeReadFails composes from a base that cannot be read: nothing is stored.
func testComposeReadFails(f *fixture) {
	content := f.text("content")
	rev := f.put("key", content, "").Revision
	o, err := f.store.Open(f.ctx, "key")
	f.noError(err)
	defer o.Close()
	for _, n := range f.points() {
		base := unreadable{o}
		big := store.Piece{Write: func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(random(12, n))); return err }}
		_, err = store.Compose(f.ctx, f.store, "key", base, []store.Piece{big, {Len: base.Info().Size}}, &store.PutOptions{Replace: rev})
		f.wantError(err, errWanted)
		f.holds("key", content, rev)
		f.clean()
	}
}

// unreadable is an object that cannot be read.
type unreadable struct{ store.Object }

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, errWanted }
