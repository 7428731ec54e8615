package cloud

import (
	"os"
	"path/filepath"
	"strings"
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

// The run directory can be any directory that the user names: what stands in its "known"
// and is no note was once removed when it was a day old, and written to through a link.
func TestProbeLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	store.Remember(dir)
	defer store.Remember("")
	f := &fixture{T: t}
	f.noError(os.Mkdir(filepath.Join(dir, knownDir), 0o700))
	linked, beside := filepath.Join(dir, "linked"), filepath.Join(dir, knownDir, "thesis.txt")
	like := filepath.Join(dir, knownDir, strings.Repeat("0a", 16))
	long := time.Now().Add(-2 * knownTime)
	for _, path := range []string{linked, beside, like} {
		f.noError(os.WriteFile(path, []byte("of the user"), 0o600))
		f.noError(os.Chtimes(path, long, long))
	}
	f.noError(os.Symlink(linked, knownPath("something")))
	learnt("something")
	learnt("something else")
	for _, path := range []string{linked, beside, like} {
		if got, err := os.ReadFile(path); err != nil || string(got) != "of the user" {
			t.Errorf("%s has %q, %v", path, got, err)
		}
	}
	if known("something") || !known("something else") {
		t.Error("a link counts as a note, or a note does not count")
	}
}
