// Package storetest tests a store against its contract: conditions, races, failures,
// cancellation, and histories that must be linearizable, on a real store. The tests of Put are
// also run on composing.
//
// The author of a driver calls [Run] from a test and [Main] from TestMain, and describes the
// driver and the server in [Options]:
//
//	func TestMain(m *testing.M) {
//		storetest.Main(m, func(ctx context.Context, address string) (store.Store, error) {
//			return openMine(ctx, address)
//		})
//	}
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return openMine(…) }, &storetest.Options{
//			Address: func(s store.Store) string { return s.(*mine).address },
//			Litter:  func(t *testing.T, s store.Store) []string { return … },
//			Lacks:   map[storetest.Ability]string{storetest.DeleteRaces: "the emulator decides them outside of its lock"},
//		})
//	}
//
// It stores up to 64 MiB in one archive, and uses about 200 MiB of memory.
//
// [CheckHistory] is the part that also works when requests fail. [Faulty] is a store that
// loses requests and answers on demand, for tests of users of stores.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/workdir/workdir/store"
)

// Options describe the driver under test. Nil stands for the zero value.
type Options struct {
	// Address returns the address by which the function passed to Main opens the same store in
	// another process. It may be nil if the store lacks Processes.
	Address func(s store.Store) string
	// Litter returns everything at the store besides the archives, which each test checks at
	// its end. Nil skips the check.
	Litter func(t *testing.T, s store.Store) []string
	// Pinned says that an open archive stays readable to its end even if it is replaced.
	// Otherwise a read may fail, but never return other bytes.
	Pinned bool
	// Threshold is the size in bytes above which the driver sends an archive in
	// several parts, and the size of these parts; 0 stands for 8 MiB. For a driver without
	// parts it is just a size.
	Threshold int
	// Lacks lists the abilities that a server standing in for another one lacks, and why. The
	// tests of those are skipped; another server has to cover them.
	Lacks map[Ability]string
}

// Ability is part of the contract of store.Store that a test server may lack.
type Ability string

// Abilities that test servers are known to lack.
const (
	// DeleteRaces: exactly one of several writers and deleters of one revision wins.
	DeleteRaces Ability = "races of conditional deletes"
	// EmptySegments: "a//b" and "a/b" are different keys.
	EmptySegments Ability = "keys with empty segments"
	// Processes: another process can open the store by the result of Options.Address.
	Processes Ability = "other processes"
)

const defaultThreshold = 8 << 20

// testCase is one test of the suite.
type testCase struct {
	name  string
	run   func(*fixture)
	large bool    // also with archives above the threshold
	needs Ability // "" if every store must pass it
}

var testCases = []testCase{
	{name: "Missing", run: testMissing},
	{name: "Create", run: testCreate, large: true},
	{name: "Replace", run: testReplace, large: true},
	{name: "Delete", run: testDelete, large: true},
	{name: "Keys", run: testKeys},
	{name: "EmptySegments", run: testEmptySegments, needs: EmptySegments},
	{name: "BadKeys", run: testBadKeys},
	{name: "List", run: testList},
	{name: "ListPages", run: testListPages},
	{name: "Empty", run: testEmpty},
	{name: "Sizes", run: testSizes},
	{name: "Read", run: testRead},
	{name: "ReadCancelled", run: testReadCancelled},
	{name: "Big", run: testBig},
	{name: "ReadersDuringReplacement", run: testReaders, large: true},
	{name: "ReplacedWhileOpen", run: testReplacedWhileOpen, large: true},
	{name: "RaceToCreate", run: testRaceToCreate, large: true},
	{name: "RaceToReplace", run: testRaceToReplace, large: true},
	{name: "RaceToDelete", run: testRaceToDelete, large: true, needs: DeleteRaces},
	{name: "Increments", run: testIncrements},
	{name: "IncrementsOfProcesses", run: testProcesses, needs: Processes},
	{name: "History", run: testHistory},
	{name: "HistoryWithDeletes", run: testHistoryWithDeletes, needs: DeleteRaces},
	{name: "WriteFails", run: testWriteFails},
	{name: "WritePanics", run: testWritePanics, large: true},
	{name: "CancelledBefore", run: testCancelledBefore},
	{name: "CancelledDuringWrite", run: testCancelledDuringWrite},
	{name: "CancelledEndless", run: testCancelledEndless},
	{name: "CancelledInBefore", run: testCancelledInBefore, large: true},
	{name: "Before", run: testBefore, large: true},
	{name: "BeforeDelete", run: testBeforeDelete},
	{name: "Compose", run: testCompose},
	{name: "ComposeConflicts", run: testComposeConflicts, large: true},
	{name: "ComposeReplaced", run: testComposeReplaced},
	{name: "ComposeRace", run: testComposeRace, large: true},
	{name: "ComposeReadFails", run: testComposeReadFails},
	{name: "Keep", run: testKeep, large: true},
}

// Run tests a driver against the contract of store.Store. open returns a new, empty store at
// each call; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store, opts *Options) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Threshold == 0 {
		o.Threshold = defaultThreshold
	}
	for _, test := range testCases {
		if why, lacks := o.Lacks[test.needs]; lacks {
			t.Logf("%s is not in the list, for this server lacks %s: %s", test.name, test.needs, why)
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.on(t, open(t), &o, 0) })
		if test.large {
			t.Run(test.name+"Large", func(t *testing.T) { test.on(t, open(t), &o, o.Threshold+o.Threshold/8) })
		}
		if isComposed(test) {
			t.Run(test.name+"Composed", func(t *testing.T) { test.composed(t, open(t), &o) })
		}
	}
}

// on runs the test on a store, with archives of at least size bytes.
func (c testCase) on(t *testing.T, s store.Store, opts *Options, size int) {
	f := &fixture{T: t, ctx: t.Context(), store: s, opts: opts, size: size}
	t.Cleanup(func() { f.noError(f.store.Close()) })
	c.run(f)
	f.clean()
}

// composed runs the test on a store whose Puts all compose.
func (c testCase) composed(t *testing.T, s store.Store, opts *Options) {
	own := *opts
	if opts.Litter != nil {
		own.Litter = func(t *testing.T, _ store.Store) []string { return opts.Litter(t, s) }
	}
	c.on(t, composed{s}, &own, 0)
}

// fixture is one test on one store.
type fixture struct {
	*testing.T
	ctx   context.Context
	store store.Store
	opts  *Options
	size  int // minimum size of the test's archives, bytes
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

// wantConflict checks that err has the wanted revision, and the actual one if the store shows
// it.
func (f *fixture) wantConflict(err error, want, have store.Revision) {
	f.Helper()
	f.wantError(err, store.ErrConflict)
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		f.Fatalf("%v is not a *ConflictError", err)
	}
	if conflict.Want != want || conflict.Have != have && conflict.Have != "" {
		f.Fatalf("the conflict is about %q and %q, want %q and %q", conflict.Want, conflict.Have, want, have)
	}
}

// put stores content or fails the test.
func (f *fixture) put(key string, content []byte, replace store.Revision) store.Info {
	f.Helper()
	info, err := f.store.Put(f.ctx, key, writes(content), &store.PutOptions{Replace: replace})
	f.noError(err)
	return info
}

// holds checks that key's archive is content with that revision, by all ways to read it.
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
			f.Fatalf("%s returns %+v; want key %q, revision %q, size %d", name, info, key, rev, len(content))
		}
	}
}

// missing checks that key has no archive.
func (f *fixture) missing(key string) {
	f.Helper()
	if _, err := f.store.Stat(f.ctx, key); !errors.Is(err, store.ErrNotExist) {
		f.Fatalf("Stat of %q returns %v, want ErrNotExist", key, err)
	}
	if o, err := f.store.Open(f.ctx, key); !errors.Is(err, store.ErrNotExist) {
		if err == nil {
			_ = o.Close()
		}
		f.Fatalf("Open of %q returns %v, want ErrNotExist", key, err)
	}
}

// clean checks that the store contains only archives.
func (f *fixture) clean() {
	f.Helper()
	if f.opts.Litter == nil || f.Failed() {
		return
	}
	if litter := f.opts.Litter(f.T, f.store); len(litter) > 0 {
		f.Errorf("left at the store: %q", litter)
	}
}

// writes returns a function for Put that writes content.
func writes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}

// random returns n bytes determined by seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// text returns unique content, of the test's size.
func (f *fixture) text(format string, args ...any) []byte {
	content := text(format, args...)
	if missing := f.size - len(content); missing > 0 {
		content = append(content, random(rand.Uint64(), missing)...)
	}
	return content
}

// text returns unique content.
func text(format string, args ...any) []byte {
	return fmt.Appendf(nil, "%s %016x", fmt.Sprintf(format, args...), rand.Uint64())
}
