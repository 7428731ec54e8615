package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A tree of 200 levels, and a path as long as one may be (PATH_MAX is 4,096 bytes,
// with the zero at the end), work and come back.
func TestDeepTreesAndLongPaths(t *testing.T) {
	needRoot(t)
	for _, view := range oracleViews {
		t.Run(view, func(t *testing.T) {
			w := newOracleWorld(t, view)
			m := w.open(t, "deep")
			deep := m.Path() + strings.Repeat("/d", 200)
			must(t, os.MkdirAll(deep, 0o755))
			must(t, os.WriteFile(deep+"/file", []byte("at the bottom"), 0o644))

			for _, over := range []int{0, 1} {
				long := longPath(t, m.Path(), unix.PathMax-1+over)
				err := os.WriteFile(long, []byte("far away"), 0o644)
				if want := []unix.Errno{0, unix.ENAMETOOLONG}[over]; outcome(err) != outcome(orNil(want)) {
					t.Errorf("write to a path of %d bytes: %v, want %v", len(long), err, want)
				}
			}
			want := snapshotOf(t, m.Path())
			m = w.remount(t, m, "deep")
			defer w.close(t, m)
			mustEqual(t, "after a commit", want, snapshotOf(t, m.Path()))
			if b, err := os.ReadFile(m.Path() + strings.Repeat("/d", 200) + "/file"); string(b) != "at the bottom" {
				t.Errorf("the file at the bottom has %q, %v", b, err)
			}
			must(t, os.RemoveAll(m.Path("d")))
		})
	}
}

// longPath makes directories for a path of length bytes below dir.
func longPath(t *testing.T, dir string, length int) string {
	t.Helper()
	for length-len(dir) > 2*201 {
		dir = filepath.Join(dir, strings.Repeat("x", 200))
	}
	must(t, os.MkdirAll(dir, 0o755))
	half := (length - len(dir) - 2) / 2
	dir = filepath.Join(dir, strings.Repeat("y", half))
	must(t, os.MkdirAll(dir, 0o755))
	return filepath.Join(dir, strings.Repeat("z", length-len(dir)-1))
}
