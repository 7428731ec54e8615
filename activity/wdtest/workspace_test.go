package wdtest_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/workdir/workdir/activity/wdtest"
	"github.com/workdir/workdir/workspace"
)

func TestPutAndGet(t *testing.T) {
	url := wdtest.NewStore(t) + "/customers/acme"
	if got := wdtest.Get(t, url); got != nil {
		t.Errorf("a workspace that does not exist has %v", got)
	}
	for _, files := range []map[string]string{
		{"a": "1", "dir/sub/b": "", "empty/": "", "dir/none/": ""},
		{"a": "2"}, // nothing of the one before is left
		{},
	} {
		wdtest.Put(t, url, files)
		if got := wdtest.Get(t, url); !maps.Equal(got, files) || got == nil {
			t.Errorf("%v was put, and %v is there", files, got)
		}
	}
}

func TestGetLeavesLinksOut(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := wdtest.NewStore(t) + "/ws"
	if _, err := workspace.Import(t.Context(), dir, url, nil); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, url); !maps.Equal(got, map[string]string{"file": "x"}) {
		t.Errorf("got %v", got)
	}
}

// failing is a test that fails without ending this one.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestPutRefuses(t *testing.T) {
	url := wdtest.NewStore(t) + "/ws"
	for name, at := range map[string]string{"../up": url, "/etc/x": url, "": url, "file": "nothing://b/k"} {
		f := &failing{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			wdtest.Put(f, at, map[string]string{name: ""})
		}()
		<-done
		if f.text == "" {
			t.Errorf("%q at %s was put", name, at)
		}
	}
	if got := wdtest.Get(t, url); got != nil {
		t.Errorf("stored: %v", got)
	}
}
