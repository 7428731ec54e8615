package cloud

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// anotherProcess makes this one know nothing of buckets.
func anotherProcess() {
	probed.Lock()
	defer probed.Unlock()
	probed.buckets = nil
}

// Each commit of the command line was a process of its own, which tried the conditions of
// the bucket anew: eight requests instead of one, and scratch objects that a bucket with
// versions keeps.
func TestProbeRemembered(t *testing.T) {
	dir := t.TempDir()
	store.Remember(dir)
	defer store.Remember("")
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	f.noError(f.put("first", []byte("new"), "", nil))
	m.sent()
	anotherProcess()
	f.noError(f.put("second", []byte("new"), "", nil))
	f.wantSent("put")

	notes, err := filepath.Glob(filepath.Join(dir, knownDir, "*"))
	f.noError(err)
	if len(notes) != 1 {
		t.Fatalf("notes %q", notes)
	}
	for what, when := range map[string]time.Time{"old": time.Now().Add(-knownTime), "of a wrong clock": time.Now().Add(time.Hour)} {
		f.noError(os.Chtimes(notes[0], when, when))
		anotherProcess()
		f.noError(f.put("third "+what, []byte("new"), "", nil))
		if sent := m.sent(); len(sent) < 5 {
			t.Errorf("a note that is %s counts: %q", what, sent)
		}
	}
}

// Of another bucket nothing is known, nor of one that ignores conditions; what is too old
// goes, and a directory that is not there is not made.
func TestProbeForgotten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	store.Remember(dir)
	defer store.Remember("")
	learnt("something")
	if _, err := os.Stat(dir); err == nil || known("something") {
		t.Error("the run directory was made")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	f := &fixture{T: t, m: m, s: newMemoryStore(t, m)}
	m.unconditional = true
	f.wantError(f.put("key", []byte("new"), "", nil), store.ErrNotConditional)
	learnt("old")
	long := time.Now().Add(-2 * knownTime)
	f.noError(os.Chtimes(knownPath("old"), long, long))
	learnt("something")
	notes, err := os.ReadDir(filepath.Join(dir, knownDir))
	f.noError(err)
	if len(notes) != 1 || !known("something") || known("something else") {
		t.Errorf("%d notes", len(notes))
	}
}
