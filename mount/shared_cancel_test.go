package mount

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// gated is a file store whose archives are served only up to a gate, which a test opens.
// Files beside the archive count the calls: "opens" and "stats" have a byte for each.
type gated struct {
	store.Store
	at string // "open" or "read"
}

func init() {
	store.Register("gated", func(ctx context.Context, u store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "file"})
		return &gated{s, strings.TrimPrefix(u.Query, "at=")}, err
	})
}

// note adds a byte to a file beside the archive.
func note(key, name string) error {
	file, err := os.OpenFile(filepath.Join("/", filepath.Dir(key), name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(".")
	return errors.Join(err, file.Close())
}

// pass waits for the gate.
func pass(ctx context.Context, key string) error {
	for {
		if _, err := os.Stat(filepath.Join("/", filepath.Dir(key), "gate")); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

func (g *gated) Open(ctx context.Context, key string) (store.Object, error) {
	if err := note(key, "opens"); err != nil {
		return nil, err
	}
	if g.at == "open" {
		if err := pass(ctx, key); err != nil {
			return nil, err
		}
	}
	obj, err := g.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &gatedObject{obj, ctx, key}, nil
}

func (g *gated) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := note(key, "stats"); err != nil {
		return store.Info{}, err
	}
	return g.Store.Stat(ctx, key)
}

type gatedObject struct {
	store.Object
	ctx context.Context
	key string
}

func (o *gatedObject) Read(p []byte) (int, error) {
	if err := pass(o.ctx, o.key); err != nil {
		return 0, err
	}
	return o.Object.Read(p)
}

func (o *gatedObject) ReadAt(p []byte, off int64) (int, error) {
	if err := pass(o.ctx, o.key); err != nil {
		return 0, err
	}
	return o.Object.ReadAt(p, off)
}

func (f *fixture) awaitSize(name string, size int64) {
	f.t.Helper()
	waitFor(f.t, name, func() bool {
		st, err := os.Stat(filepath.Join(f.dir, name))
		return err == nil && st.Size() >= size
	})
}

// opening is an Open that is under way.
type opening struct {
	run    func()
	cancel context.CancelFunc
	done   chan struct{} // closed when the next two are set
	mount  *Mount
	err    error
}

// begin opens url, in a goroutine.
func (f *fixture) begin(url string) *opening {
	o := f.prepare(url)
	go o.run()
	return o
}

// prepare returns an Open, which run calls.
func (f *fixture) prepare(url string) *opening {
	ctx, cancel := context.WithCancel(f.t.Context())
	o := &opening{cancel: cancel, done: make(chan struct{})}
	o.run = func() {
		defer close(o.done)
		o.mount, o.err = Open(ctx, url, &Options{RunDir: f.runDir, ReadOnly: true})
	}
	return o
}

func (o *opening) awaitCanceled(t *testing.T) {
	t.Helper()
	if <-o.done; !errors.Is(o.err, context.Canceled) {
		t.Errorf("Open = %v, want context.Canceled", o.err)
	}
}

// An Open that is given up while it opens or loads takes nothing from those who wait for
// the same: if it was loading, they get what it began, otherwise one of them begins.
func TestOpenerOfSharedTreeIsCancelled(t *testing.T) {
	for _, c := range []struct {
		at    string
		opens int
	}{{"read", 1}, {"open", 2}} {
		t.Run(c.at, func(t *testing.T) {
			f := newFixture(t)
			f.commit("key", "file", "content")
			url := "gated://bucket" + f.dir + "/key?at=" + c.at
			first := f.begin(url)
			f.awaitSize("opens", 1)
			second, third := f.begin(url), f.begin(url)
			f.awaitSize("stats", 2)
			first.cancel()
			first.awaitCanceled(t)
			f.awaitSize("opens", int64(c.opens))
			if err := os.WriteFile(filepath.Join(f.dir, "gate"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, o := range []*opening{second, third} {
				if <-o.done; o.err != nil {
					t.Fatal(o.err)
				}
				if b, err := os.ReadFile(o.mount.Path("file")); string(b) != "content" || err != nil {
					t.Errorf("the file has %q, %v", b, err)
				}
				f.close(o.mount, false)
				o.cancel()
			}
			f.awaitSize("opens", int64(c.opens))
			if st, err := os.Stat(filepath.Join(f.dir, "opens")); err != nil || st.Size() != int64(c.opens) {
				t.Errorf("the archive was opened %v times, %v; want %d", st.Size(), err, c.opens)
			}
		})
	}
}

// The last one that waits and is given up ends the loading.
func TestLoadingThatNobodyWaitsForEnds(t *testing.T) {
	f := newFixture(t)
	f.commit("key", "file", "content")
	url := "gated://bucket" + f.dir + "/key?at=read"
	all := []*opening{f.begin(url)}
	f.awaitSize("opens", 1)
	all = append(all, f.begin(url))
	f.awaitSize("stats", 1)
	for _, o := range all {
		o.cancel()
		o.awaitCanceled(t)
	}
	again := f.begin(url)
	f.awaitSize("opens", 2) // and not the tree of before
	again.cancel()
	again.awaitCanceled(t)
}

// An Open that was given up before the server knew of it once waited for the store forever.
func TestOpenIsCancelledBeforeItBegins(t *testing.T) {
	f := newFixture(t)
	f.commit("key", "file", "content") // and so there is a server
	for _, at := range []string{"open", "read"} {
		for range 10 {
			o := f.prepare("gated://bucket" + f.dir + "/key?at=" + at)
			o.cancel()
			go o.run()
			o.awaitCanceled(t)
		}
	}
}
