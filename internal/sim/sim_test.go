package sim

import (
	"errors"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	schedules = flag.Uint64("schedules", 500, "how many schedules to run")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first one")
)

// Each schedule packs archives, whose buffers are garbage at once. Collecting it as often as
// by default takes three quarters of the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// Whatever is lost, late, doubled, killed, reset or overwritten: one winner for each
// revision, one effect of each step, nothing torn, and nobody was told what is not so.
func TestSchedules(t *testing.T) {
	workers := uint64(runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var sum Report
	var all sync.WaitGroup
	for i := range workers {
		first := *firstSeed + i**schedules/workers
		last := *firstSeed + (i+1)**schedules/workers - 1
		all.Go(func() {
			r, failed := Seeds(t, first, last, Rules{Faults: 6})
			if failed {
				t.Error(r.Err)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.Commits += r.Commits
			sum.Unknown += r.Unknown
			sum.Clients += r.Clients
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d schedules: %d clients, %d archives, %d errors", *schedules, sum.Clients, sum.Commits, sum.Unknown)
	if n := int(*schedules); sum.Clients < 2*n || sum.Commits < n || sum.Unknown < n/10 {
		t.Errorf("too little happened: %+v", sum)
	}
}

// Without faults all activities complete.
func TestSchedulesWithoutFaults(t *testing.T) {
	if r, failed := Seeds(t, 1, 300, Rules{}); failed {
		t.Error(r.Err)
	}
}

// A seed is a schedule: it goes the same way each time, but for the ids of commits.
func TestSeedIsASchedule(t *testing.T) {
	for seed := range uint64(50) {
		var traces [2][]string
		for i := range traces {
			synctest.Test(t, func(*testing.T) { traces[i] = run(fromSeed(seed), Rules{Faults: 6}).Trace })
		}
		if !slices.Equal(traces[0], traces[1]) {
			t.Fatalf("seed %d goes two ways:\n%q\n%q", seed, traces[0], traces[1])
		}
	}
}

// The rules detect injected faults.
func TestBreaks(t *testing.T) {
	for name, b := range map[string]Break{"once": BreakOnce, "unknown": BreakUnknown, "condition": BreakCondition} {
		t.Run(name, func(t *testing.T) {
			r, failed := Seeds(t, 1, 2000, Rules{Faults: 6, Break: b})
			if !failed {
				t.Fatal("2,000 schedules have not found it")
			}
			if errors.Is(r.Err, errEndless) {
				t.Fatal(r.Err)
			}
			faults := 0
			for _, c := range r.Choices {
				faults += min(int(c), 1)
			}
			if faults > 16 {
				t.Errorf("a schedule that was shrunk has %d choices that are not 0:\n%v", faults, r.Err)
			}
		})
	}
}
