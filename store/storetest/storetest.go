// Package storetest holds a store to its contract: conditions, races, failures
// and cancellation, on a real store. The author of a driver calls [Run] from a
// test and [Main] from TestMain.
//
// [Faulty] is a store that loses requests and answers on demand, for tests of
// those who use stores.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/workdir/workdir/store"
)

// Options say what the driver at hand can be asked. Nil is good.
type Options struct {
	// Address gives what the function of Main opens the same store with in
	// another process. Nil leaves the test with several processes out.
	Address func(s store.Store) string
	// Litter gives what is at the store beside the archives; each test ends with
	// looking whether there is some. Nil looks at nothing.
	Litter func(t *testing.T, s store.Store) []string
	// Pinned says that an open archive stays readable to its end though it be
	// replaced. Otherwise a read may fail, but never give other bytes.
	Pinned bool
	// LooseDeletes says that the server at hand, unlike the real one, does not
	// decide races of conditional deletes. It leaves the test of these out.
	LooseDeletes bool
}

// Run holds a driver to the contract of store.Store. open gives an empty store,
// another one at each call; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store, opts *Options) {
	if opts == nil {
		opts = &Options{}
	}
	tests := []struct {
		name string
		run  func(*fixture)
		out  bool
	}{
		{name: "Missing", run: testMissing},
		{name: "Create", run: testCreate},
		{name: "Replace", run: testReplace},
		{name: "Delete", run: testDelete},
		{name: "Keys", run: testKeys},
		{name: "BadKeys", run: testBadKeys},
		{name: "List", run: testList},
		{name: "Empty", run: testEmpty},
		{name: "Read", run: testRead},
		{name: "Big", run: testBig},
		{name: "ReadersDuringReplacement", run: testReaders},
		{name: "ReplacedWhileOpen", run: testReplacedWhileOpen},
		{name: "RaceToCreate", run: testRaceToCreate},
		{name: "RaceToReplace", run: testRaceToReplace},
		{name: "RaceToDelete", run: testRaceToDelete, out: opts.LooseDeletes},
		{name: "Increments", run: testIncrements},
		{name: "IncrementsOfProcesses", run: testProcesses, out: opts.Address == nil},
		{name: "WriteFails", run: testWriteFails},
		{name: "WritePanics", run: testWritePanics},
		{name: "CancelledBefore", run: testCancelledBefore},
		{name: "CancelledDuringWrite", run: testCancelledDuringWrite},
		{name: "CancelledEndless", run: testCancelledEndless},
		{name: "CancelledInBefore", run: testCancelledInBefore},
		{name: "Before", run: testBefore},
		{name: "BeforeDelete", run: testBeforeDelete},
	}
	for _, test := range tests {
		if test.out {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{T: t, ctx: t.Context(), store: open(t), opts: opts}
			t.Cleanup(func() { f.noError(f.store.Close()) })
			test.run(f)
			f.clean()
		})
	}
}

// fixture is one test on one store.
type fixture struct {
	*testing.T
	ctx   context.Context
	store store.Store
	opts  *Options
}

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

// wantConflict checks that err says which revision was wanted, and which one is
// there if the store says so.
func (f *fixture) wantConflict(err error, want, have store.Revision) {
	f.Helper()
	f.wantError(err, store.ErrConflict)
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		f.Fatalf("%v is no *ConflictError", err)
	}
	if conflict.Want != want || conflict.Have != have && conflict.Have != "" {
		f.Fatalf("the conflict is about %q and %q, want %q and %q", conflict.Want, conflict.Have, want, have)
	}
}

// put stores content and fails the test where it cannot.
func (f *fixture) put(key string, content []byte, replace store.Revision) store.Info {
	f.Helper()
	info, err := f.store.Put(f.ctx, key, writes(content), &store.PutOptions{Replace: replace})
	f.noError(err)
	return info
}

// holds checks that key's archive is content with that revision, by all ways
// there are to look at it.
func (f *fixture) holds(key string, content []byte, rev store.Revision) {
	f.Helper()
	o, err := f.store.Open(f.ctx, key)
	f.noError(err)
	defer o.Close()
	got, err := io.ReadAll(o)
	f.noError(err)
	if !bytes.Equal(got, content) {
		f.Fatalf("%q holds %d bytes (%.20q), want %d (%.20q)", key, len(got), got, len(content), content)
	}
	stat, err := f.store.Stat(f.ctx, key)
	f.noError(err)
	for name, info := range map[string]store.Info{"Open": o.Info(), "Stat": stat} {
		if info.Key != key || info.Revision != rev || info.Size != int64(len(content)) {
			f.Fatalf("%s tells %+v; want key %q, revision %q, size %d", name, info, key, rev, len(content))
		}
	}
}

// missing checks that key has no archive.
func (f *fixture) missing(key string) {
	f.Helper()
	if _, err := f.store.Stat(f.ctx, key); !errors.Is(err, store.ErrNotExist) {
		f.Fatalf("Stat of %q gives %v, want ErrNotExist", key, err)
	}
	if o, err := f.store.Open(f.ctx, key); !errors.Is(err, store.ErrNotExist) {
		if err == nil {
			_ = o.Close()
		}
		f.Fatalf("Open of %q gives %v, want ErrNotExist", key, err)
	}
}

// clean checks that nothing is at the store but archives.
func (f *fixture) clean() {
	f.Helper()
	if f.opts.Litter == nil || f.Failed() {
		return
	}
	if litter := f.opts.Litter(f.T, f.store); len(litter) > 0 {
		f.Errorf("left at the store: %q", litter)
	}
}

// writes gives a function for Put that writes content.
func writes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}

// random gives n bytes that follow from seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// text gives content that no other call gives.
func text(format string, args ...any) []byte {
	return fmt.Appendf(nil, "%s %016x", fmt.Sprintf(format, args...), rand.Uint64())
}
