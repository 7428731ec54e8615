package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
)

// writers is the number of racing writers: fewer if each holds several parts in memory.
func (f *fixture) writers() int {
	if f.size > 0 {
		return 4
	}
	return 8
}

// rounds is how often a race is run: less often if it takes long.
func (f *fixture) rounds() int {
	if f.size > 0 {
		return 3
	}
	return 50
}

// outcome is the result of one of several writers.
type outcome struct {
	content []byte // nil for a delete
	info    store.Info
	err     error
}

// race lets writers replace one revision at the same moment.
func (f *fixture) race(n int, act func(i int) outcome) []outcome {
	outcomes := make([]outcome, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			outcomes[i] = act(i)
		})
	}
	close(start)
	wg.Wait()
	return outcomes
}

// winner checks that one writer won and all others got a conflict, or, if a delete could win,
// ErrNotExist.
func (f *fixture) winner(outcomes []outcome) outcome {
	f.Helper()
	var won []outcome
	for _, o := range outcomes {
		if o.err == nil {
			won = append(won, o)
		} else if !errors.Is(o.err, store.ErrConflict) && !(o.content == nil && errors.Is(o.err, store.ErrNotExist)) {
			f.Fatalf("a loser gets %v, want ErrConflict", o.err)
		}
	}
	if len(won) != 1 {
		f.Fatalf("%d of %d writers won, want one", len(won), len(outcomes))
	}
	return won[0]
}

func (f *fixture) putOutcome(key string, replace store.Revision, label string) outcome {
	o := outcome{content: f.text("%s", label)}
	o.info, o.err = f.store.Put(f.ctx, key, writes(o.content), &store.PutOptions{Replace: replace})
	return o
}

func testRaceToCreate(f *fixture) {
	for round := range f.rounds() {
		key := fmt.Sprintf("dir-%d/key", round) // the directory does not exist either
		won := f.winner(f.race(f.writers(), func(i int) outcome {
			return f.putOutcome(key, "", fmt.Sprintf("writer %d", i))
		}))
		f.holds(key, won.content, won.info.Revision)
	}
}

func testRaceToReplace(f *fixture) {
	rev := f.put("key", f.text("base"), "").Revision
	for range f.rounds() {
		won := f.winner(f.race(f.writers(), func(i int) outcome {
			return f.putOutcome("key", rev, fmt.Sprintf("writer %d", i))
		}))
		rev = won.info.Revision
		f.holds("key", won.content, rev)
	}
}

func testRaceToDelete(f *fixture) {
	for range f.rounds() {
		rev := f.put("key", f.text("base"), "").Revision
		won := f.winner(f.race(f.writers(), func(i int) outcome {
			if i%2 == 0 {
				return outcome{err: f.store.Delete(f.ctx, "key", rev, nil)}
			}
			return f.putOutcome("key", rev, fmt.Sprintf("writer %d", i))
		}))
		if won.content == nil {
			f.missing("key")
			continue
		}
		f.holds("key", won.content, won.info.Revision)
		f.noError(f.store.Delete(f.ctx, "key", won.info.Revision, nil))
	}
}

const counter = "counters/key"

// increment adds one to the number in the counter, retrying if others come in between.
func increment(ctx context.Context, s store.Store) error {
	for {
		n, rev, err := count(ctx, s)
		if errors.Is(err, store.ErrConflict) {
			continue // replaced while it was read, in a store that cannot pin
		}
		if err != nil {
			return err
		}
		_, err = s.Put(ctx, counter, writes(text("%d", n+1)), &store.PutOptions{Replace: rev})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// count returns the number in the counter, and its revision.
func count(ctx context.Context, s store.Store) (n int, rev store.Revision, err error) {
	o, err := s.Open(ctx, counter)
	if errors.Is(err, store.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	defer o.Close()
	content, err := io.ReadAll(o)
	if err != nil {
		return 0, "", err
	}
	_, err = fmt.Sscanf(string(content), "%d", &n)
	return n, o.Info().Revision, err
}

func (f *fixture) counts(want int) {
	f.Helper()
	n, _, err := count(f.ctx, f.store)
	f.noError(err)
	if n != want {
		f.Fatalf("the counter is at %d, want %d", n, want)
	}
}

func testIncrements(f *fixture) {
	const each = 15
	for _, o := range f.race(f.writers(), func(int) outcome {
		for range each {
			if err := increment(f.ctx, f.store); err != nil {
				return outcome{err: err}
			}
		}
		return outcome{}
	}) {
		f.noError(o.err)
	}
	f.counts(f.writers() * each)
}

const (
	processes  = 4
	increments = 50
	addressEnv = "WORKDIR_STORETEST_ADDRESS"
)

func testProcesses(f *fixture) {
	address := f.opts.Address(f.store)
	for _, o := range f.race(processes, func(int) outcome {
		cmd := exec.CommandContext(f.ctx, os.Args[0])
		cmd.Env = append(os.Environ(), addressEnv+"="+address)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("another process: %w: %s", err, out)
		}
		return outcome{err: err}
	}) {
		f.noError(o.err)
	}
	f.counts(processes * increments)
}

// Main is for TestMain of a driver's tests: it runs them, or, in a process started by Run, the
// task of that process. open opens the store at the address returned by Options.Address.
func Main(m *testing.M, open func(ctx context.Context, address string) (store.Store, error)) {
	Child(open)
	os.Exit(m.Run())
}

// Child is Main for a TestMain with more to do: in a process started by Run it performs the
// task of that process, and ends it; otherwise it returns at once.
func Child(open func(ctx context.Context, address string) (store.Store, error)) {
	address, isChild := os.LookupEnv(addressEnv)
	if !isChild {
		return
	}
	if err := incrementAt(context.Background(), address, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func incrementAt(ctx context.Context, address string, open func(context.Context, string) (store.Store, error)) error {
	s, err := open(ctx, address)
	if err != nil {
		return err
	}
	defer s.Close()
	for range increments {
		if err := increment(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
