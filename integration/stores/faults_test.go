package stores

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// seedVariable takes a seed, so that a failure can be looked for again.
const seedVariable = "WORKDIR_STORES_SEED"

func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv(seedVariable); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		noError(t, err)
	}
	t.Logf("%s=%d", seedVariable, seed)
	return seed
}

// before starts a proxy before a server, through which this process and those that
// it starts reach it.
func before(t *testing.T, s *Server, every int, faults []Fault) *Proxy {
	t.Helper()
	choose := BySeed(newSeed(t), every, faults)
	if s.Kind == GS {
		choose = sparingChunks(choose)
	}
	p, err := NewProxy(s, choose)
	noError(t, err)
	t.Cleanup(func() {
		noError(t, p.Close())
		t.Logf("faults: %v", p.Met())
	})
	if s.Kind == GS {
		t.Setenv("STORAGE_EMULATOR_HOST", p.Address)
	}
	return p
}

// sparingChunks leaves out what fake-gcs-server cannot do: it appends a chunk of an
// upload whenever it gets one, though the chunk says where it belongs. So each may
// arrive only once. Azurite and versitygw cover that.
func sparingChunks(choose func(*http.Request) Fault) func(*http.Request) Fault {
	once := []Fault{None, LoseRequest, CutRequest, Delay, Error500, Error503, Error429}
	return func(r *http.Request) Fault {
		fault := choose(r)
		if r.URL.Query().Has("upload_id") && !slices.Contains(once, fault) {
			return Error503
		}
		return fault
	}
}

// fate is what the committer was told.
type fate string

const (
	stored  fate = "stored"
	refused fate = "refused"
	unknown fate = "unknown"
)

// committer repeatedly commits to one workspace, as others do.
type committer struct {
	t     *testing.T
	store store.Store
	rand  *rand.Rand
	fates map[archive.CommitID]fate
}

const sharedKey = "shared/key"

// largeSize makes an archive of several parts.
const largeSize = 9 << 20

// head returns the archive to be replaced, and its log.
func (c *committer) head(ctx context.Context) (store.Revision, *archive.Log, error) {
	o, err := c.store.Open(ctx, sharedKey)
	if errors.Is(err, store.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	defer o.Close()
	log, err := archive.ReadLog(o, o.Info().Size)
	return o.Info().Revision, log, err
}

// commit makes one commit on top of what is there. A workspace that cannot be
// opened now is not an error.
func (c *committer) commit() {
	ctx := c.t.Context()
	rev, log, err := c.head(ctx)
	if err != nil {
		return
	}
	size := 1000
	if c.rand.IntN(6) == 0 {
		size = largeSize
	}
	p, err := pack(ctx, log, size)
	if err != nil {
		c.t.Error(err)
		return
	}
	_, err = store.Commit(ctx, c.store, sharedKey, p.request(rev))
	switch {
	case err == nil:
		c.fates[p.id()] = stored
	case errors.Is(err, store.ErrUnknown):
		c.fates[p.id()] = unknown
	default:
		c.fates[p.id()] = refused
		if !errors.Is(err, store.ErrConflict) {
			c.t.Logf("%v", err)
		}
	}
}

// Whatever happens to requests, a commit that was stored is in the log once, and
// one that was refused is not.
func TestCommitsThroughFaults(t *testing.T) {
	const committers, each = 3, 12
	onEach(t, func(t *testing.T, s *Server) {
		bucket := newBucket(t, s)
		p := before(t, s, 5, Faults)
		var all []*committer
		var group sync.WaitGroup
		for i := range committers {
			opened, err := openURL(t.Context(), s.urlAt(p.Address, bucket, ""))
			noError(t, err)
			defer opened.Close()
			c := &committer{t: t, store: opened, rand: rand.New(rand.NewPCG(1, uint64(i))), fates: map[archive.CommitID]fate{}}
			all = append(all, c)
			group.Go(func() {
				for range each {
					c.commit()
				}
			})
		}
		group.Wait()
		p.Settle()
		checkFates(t, logOf(t, s, bucket, sharedKey), all)
	})
}

func checkFates(t *testing.T, log *archive.Log, all []*committer) {
	t.Helper()
	times := map[archive.CommitID]int{}
	for r := range log.All() {
		times[r.ID]++
	}
	count := map[fate]int{}
	for _, c := range all {
		for id, fate := range c.fates {
			count[fate]++
			if n := times[id]; fate == stored && n != 1 || fate == refused && n != 0 || n > 1 {
				t.Errorf("commit %s was %s, and is in the log %d times", id, fate, n)
			}
			delete(times, id)
		}
	}
	if len(times) > 0 {
		t.Errorf("in the log are commits that nobody made: %v", times)
	}
	if count[stored] == 0 {
		t.Error("no commit was stored")
	}
	t.Logf("fates: %v", count)
}

// What writers and readers do and see through faults has an order. An answer that
// comes from a second try of somebody between us and the server is beyond a Store:
// that is for commits.
func TestHistoriesThroughFaults(t *testing.T) {
	honest := slices.DeleteFunc(slices.Clone(Faults), func(f Fault) bool { return f == Repeat })
	onEach(t, func(t *testing.T, s *Server) {
		t.Run("puts", func(t *testing.T) { historyThrough(t, s, honest, nil) })
		t.Run("commits", func(t *testing.T) { historyThrough(t, s, Faults, newCommits()) })
	})
}

func historyThrough(t *testing.T, s *Server, faults []Fault, archives storetest.Archives) {
	bucket := newBucket(t, s)
	p := before(t, s, 8, faults)
	var stores []store.Store
	for range 4 {
		opened, err := openURL(t.Context(), s.urlAt(p.Address, bucket, ""))
		noError(t, err)
		defer opened.Close()
		stores = append(stores, opened)
	}
	storetest.CheckHistory(t, stores, &storetest.HistoryOptions{
		Clients: len(stores), Operations: 20, Keys: 2, NoDeletes: true, MayFail: true, Archives: archives,
	})
	p.Settle()
}

// commits are archives of a history that are stored by store.Commit.
type commits struct {
	mu     sync.Mutex
	byID   map[int64]*packed // guarded by mu
	bySize map[int64]int64   // ids; guarded by mu
}

func newCommits() *commits {
	return &commits{byID: map[int64]*packed{}, bySize: map[int64]int64{}}
}

func (c *commits) Put(ctx context.Context, s store.Store, key string, id, other int64, replace store.Revision) (store.Info, error) {
	p, err := c.pack(ctx, id, other)
	if err != nil {
		return store.Info{}, err
	}
	return store.Commit(ctx, s, key, p.request(replace))
}

// pack makes the archive of an id, which has a size that no other one has.
func (c *commits) pack(ctx context.Context, id, other int64) (*packed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parent *archive.Log
	if on := c.byID[other]; on != nil {
		parent = on.log
	}
	for size := 1000; ; size++ {
		p, err := pack(ctx, parent, size)
		if err != nil {
			return nil, err
		}
		n := int64(len(p.bytes))
		if _, taken := c.bySize[n]; !taken {
			c.byID[id], c.bySize[n] = p, id
			return p, nil
		}
	}
}

func (c *commits) ID(size int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bySize[size]
}
