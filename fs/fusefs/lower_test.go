package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLowerInodeNumbers(t *testing.T) {
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("f%02d", i)] = "x"
	}
	m := newMount(t, childConfig{Lower: true, Image: true, Files: files})
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[float64]string{}
	for _, e := range entries {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(m.dir, e.Name()), &st); err != nil {
			t.Fatal(err)
		}
		asJavaScript := float64(st.Ino | 1<<62) // as an overlay shows it
		if other := seen[asJavaScript]; other != "" || uint64(asJavaScript) != st.Ino|1<<62 {
			t.Errorf("%s has number %d, as a double that of %q", e.Name(), st.Ino, other)
		}
		seen[asJavaScript] = e.Name()
		if listed := listedIno(t, m.dir, e.Name()); listed != st.Ino {
			t.Errorf("%s is listed with number %d, stat says %d", e.Name(), listed, st.Ino)
		}
	}
	if len(seen) != len(files) {
		t.Errorf("%d names, want %d", len(seen), len(files))
	}
	m.unmount()
}

// listedIno is the d_ino of a name.
func listedIno(t *testing.T, dir, name string) uint64 {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil || n == 0 {
			t.Fatalf("%s is not listed: %v", name, err)
		}
		for rest := buf[:n]; len(rest) > 0; { // struct linux_dirent64
			reclen := int(rest[16]) | int(rest[17])<<8
			if got, _, _ := bytes.Cut(rest[19:reclen], []byte{0}); string(got) == name {
				ino := uint64(0)
				for i := range 8 {
					ino |= uint64(rest[i]) << (8 * i)
				}
				return ino
			}
			rest = rest[reclen:]
		}
	}
}

// Holes and opens of a lower layer that has no holes are asked for once. What has no extended
// attributes says so as tmpfs does: an overlay would show ENOTSUP to tools.
func TestLowerAsksOnce(t *testing.T) {
	files := map[string]string{"a": "x", "b": "y", "c": "z"}
	m := newMount(t, childConfig{Lower: true, Image: true, Files: files})
	for name := range files {
		path := filepath.Join(m.dir, name)
		buf := make([]byte, 100)
		if _, err := unix.Getxattr(path, "trusted.overlay.opaque", buf); !errors.Is(err, unix.ENODATA) {
			t.Errorf("getxattr: %v", err)
		}
		if n, err := unix.Listxattr(path, buf); n != 0 || err != nil {
			t.Errorf("listxattr: %d, %v", n, err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE); hole != 1 || err != nil {
			t.Errorf("SEEK_HOLE: %d, %v", hole, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	stats := m.ask("stats").Stats
	for _, name := range []string{"LSEEK", "OPEN"} {
		if stats[name] != 1 {
			t.Errorf("%d requests %s, want 1", stats[name], name)
		}
	}
	m.unmount()
}

// An archive's trusted.overlay.* would tell the overlay that a directory hides another one,
// or where a file's content is.
func TestLowerEscapesXattrs(t *testing.T) {
	attrs := map[string]string{"trusted.overlay.opaque": "y", "user.mine": "1"}
	m := newMount(t, childConfig{Lower: true, Files: map[string]string{"f": "x"}, Xattrs: attrs})
	path := filepath.Join(m.dir, "f")
	buf := make([]byte, 1000)
	if _, err := unix.Getxattr(path, "trusted.overlay.opaque", buf); !errors.Is(err, unix.ENODATA) {
		t.Errorf("the mark is shown: %v", err)
	}
	for shown, want := range map[string]string{"trusted.overlay.overlay.opaque": "y", "user.mine": "1"} {
		n, err := unix.Getxattr(path, shown, buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%s: %q, %v; want %q", shown, buf[:max(n, 0)], err, want)
		}
		attrs[shown] = want
	}
	delete(attrs, "trusted.overlay.opaque")
	n, err := unix.Listxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range bytes.SplitSeq(bytes.Trim(buf[:n], "\x00"), []byte{0}) {
		names = append(names, string(name))
	}
	slices.Sort(names)
	if want := slices.Sorted(maps.Keys(attrs)); !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}
	m.unmount()
}
