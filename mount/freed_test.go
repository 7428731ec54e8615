package mount

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Content from the archive once took its memory until the mount ended: removing, replacing
// or cutting it made no room.
func TestContentOfTheArchiveMakesRoom(t *testing.T) {
	const size, count, limit = 1 << 20, 12, 16 << 20
	piece := func(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%07d\n", i)), size/8) }
	for name, drop := range map[string]func(path string) error{
		"removed":  os.Remove,
		"cut":      func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error { return os.Rename(path+".new", path) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", nil)
			for i := range count {
				f.write(m, fmt.Sprint(i), string(piece(i)))
			}
			f.close(m, true)
			m = f.open("k", &Options{MaxBytes: limit})
			for i := range count {
				f.write(m, fmt.Sprintf("%d.new", i), "")
				if err := drop(m.Path(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
			}
			// The kernel releases a removed file by a FORGET, for which nobody waits.
			waitFor(t, "room", func() bool {
				var st unix.Statfs_t
				return unix.Statfs(m.Path(), &st) == nil && int64(st.Bavail)*st.Bsize == limit
			})
			for i := range count {
				if err := os.WriteFile(m.Path(fmt.Sprint("other", i)), piece(i+count), 0o644); err != nil {
					t.Fatalf("file %d of %d: %v", i, count, err)
				}
			}
			f.close(m, true)
			for i := range count {
				if got := f.content("k", fmt.Sprint("other", i)); got != string(piece(i+count)) {
					t.Errorf("file %d has other content", i)
				}
			}
		})
	}
}
