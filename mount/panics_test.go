package mount

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// panicking is a file store that panics where the name of the workspace says.
type panicking struct{ store.Store }

func init() {
	store.Register("panicking", func(ctx context.Context, u store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "file"})
		return panicking{s}, err
	})
}

func panicAt(key, where string) {
	if strings.HasSuffix(key, "/"+where) {
		panic("harmless, at " + where)
	}
}

func (p panicking) Open(ctx context.Context, key string) (store.Object, error) {
	panicAt(key, "open")
	obj, err := p.Store.Open(ctx, key)
	if err == nil {
		obj = panickingObject{obj, key}
	}
	return obj, err
}

// panickingObject panics when it is read.
type panickingObject struct {
	store.Object
	key string
}

func (o panickingObject) ReadAt(p []byte, off int64) (int, error) {
	panicAt(o.key, "read")
	return o.Object.ReadAt(p, off)
}

// panickingWriter panics when it is written to.
type panickingWriter struct {
	io.Writer
	key string
}

func (w panickingWriter) Write(p []byte) (int, error) {
	panicAt(w.key, "pack")
	return w.Writer.Write(p)
}

func (p panicking) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	panicAt(key, "put")
	info, err := p.Store.Put(ctx, key, func(w io.Writer) error { return write(panickingWriter{w, key}) }, opts)
	panicAt(key, "stored")
	return info, err
}

// A panic is the end of the call, the load or the commit that it is in, and of no other
// mount.
func TestPanicsStayWithTheirMount(t *testing.T) {
	f := newFixture(t)
	bystander := f.open("bystander", nil)
	f.write(bystander, "name", "content")
	for _, readOnly := range []bool{false, true} {
		for _, where := range []string{"open", "read"} {
			if where == "read" {
				f.commit(where, "name", "content")
			}
			for range 2 { // the first one must not keep the next one waiting
				m, err := Open(t.Context(), "panicking://here"+f.dir+"/"+where, &Options{RunDir: f.runDir, ReadOnly: readOnly})
				if m != nil || err == nil || !strings.Contains(err.Error(), "harmless") || errors.Is(err, ErrServerLost) {
					t.Errorf("Open (read-only: %v) with a panic at %s = %v, want it as an error", readOnly, where, err)
				}
			}
		}
	}
	for where, want := range map[string]error{"pack": ErrCommit, "put": ErrCommit, "stored": store.ErrUnknown, "before": ErrCommit} {
		opts := &Options{RunDir: f.runDir}
		if where == "before" {
			opts.BeforeStore = func(context.Context) error { panic("harmless, at before") }
		}
		m, err := Open(t.Context(), "panicking://here"+f.dir+"/"+where, opts)
		if err != nil {
			t.Fatal(err)
		}
		f.write(m, "name", "content")
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Close(t.Context()); !errors.Is(err, want) || !strings.Contains(err.Error(), "harmless") {
			t.Errorf("Close with a panic at %s = %v, want %v", where, err, want)
		}
	}
	if res := f.close(bystander, true); !res.Stored {
		t.Errorf("the bystander's result = %+v, want it stored", res)
	}
}

// An open that was cancelled before the server came to it left its mountpoint and the
// record of it for as long as the process lived: the next mount got another path.
func TestOpenCancelledAtOnceLeavesNothing(t *testing.T) {
	f := newFixture(t)
	f.close(f.open("other", nil), false)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if m, err := Open(ctx, f.url("k"), &Options{RunDir: f.runDir}); err == nil {
			f.close(m, false)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(f.runDir, host.MountpointsName)); len(left) > 0 {
		t.Errorf("%d mountpoints are left, such as %s", len(left), left[0].Name())
	}
}
