package fusefs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// fileImage is an image of files in the root.
type fileImage struct {
	names []string // sorted
	files map[string]string
}

func newFileImage(files map[string]string) *fileImage {
	return &fileImage{slices.Sorted(maps.Keys(files)), files}
}

func (m *fileImage) Len() int                   { return len(m.names) + 1 }
func (m *fileImage) Inode(row uint32) uint32    { return row }
func (m *fileImage) Target(uint32) string       { return "" }
func (m *fileImage) Xattrs(uint32) []fs.Xattr   { return nil }
func (m *fileImage) Content(row uint32) fs.Base { return &textBase{m.files[m.Name(row)]} }

func (m *fileImage) Name(row uint32) string {
	if row == 0 {
		return ""
	}
	return m.names[row-1]
}

func (m *fileImage) Attr(row uint32) fs.Attr {
	longAgo := fs.Time{Sec: 1000, Nsec: row}
	a := fs.Attr{Mode: unix.S_IFREG | 0o644, Nlink: 1, Atime: longAgo, Mtime: longAgo, Ctime: longAgo, Btime: longAgo}
	if row == 0 {
		a.Mode, a.Nlink = unix.S_IFDIR|0o755, 2
	} else {
		a.Size = int64(len(m.files[m.Name(row)]))
	}
	return a
}

func (m *fileImage) Children(row uint32) (first, n uint32) {
	if row > 0 {
		return 0, 0
	}
	return 1, uint32(len(m.names))
}

// textBase is content without holes.
type textBase struct{ text string }

func (b *textBase) Size() int64                       { return int64(len(b.text)) }
func (b *textBase) Used() int64                       { return b.Size() }
func (b *textBase) SeekData(off int64) (int64, error) { return off, nil }
func (b *textBase) SeekHole(int64) (int64, error)     { return b.Size(), nil }
func (b *textBase) ReadAt(p []byte, off int64) (int, error) {
	slowStore.read()
	return strings.NewReader(b.text).ReadAt(p, off)
}

// What the kernel has forgotten of an image is made anew when it asks again: it has to be
// the same file, with the same number and the same handle.
func TestForgottenInodeComesBack(t *testing.T) {
	const count = 300
	files := map[string]string{}
	for i := range count {
		files[fmt.Sprintf("f%03d", i)] = fmt.Sprint("content of ", i)
	}
	m := newMount(t, childConfig{Files: files, Image: true})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stat := func(name string) (st unix.Stat_t) {
		must(unix.Stat(filepath.Join(m.dir, name), &st))
		return st
	}
	for name := range files {
		stat(name)
	}
	must(os.WriteFile(filepath.Join(m.dir, "f007"), []byte("written"), 0o644))
	must(os.Chmod(filepath.Join(m.dir, "f008"), 0o600))
	must(os.Remove(filepath.Join(m.dir, "f009")))
	files["f007"] = "written"
	delete(files, "f009")
	tick() // or an atime is older than a change, and the next read renews it again
	before, handles := map[string]unix.Stat_t{}, map[string]unix.FileHandle{}
	for name := range files {
		_, err := os.ReadFile(filepath.Join(m.dir, name)) // which changes its atime, once
		must(err)
		before[name] = stat(name)
		handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(m.dir, name), 0)
		must(err)
		handles[name] = handle
	}
	for forgotten := uint64(0); forgotten < count-1; forgotten = m.ask("stats").Stats["FORGET"] {
		must(os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
	}
	dir, err := unix.Open(m.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(err)
	for name, handle := range handles {
		fd, err := unix.OpenByHandleAt(dir, handle, unix.O_RDONLY|unix.O_CLOEXEC)
		must(err)
		f := os.NewFile(uintptr(fd), name)
		content, err := io.ReadAll(f)
		must(errors.Join(err, f.Close()))
		if string(content) != files[name] {
			t.Errorf("%s by its handle: %q", name, content)
		}
	}
	must(unix.Close(dir))
	entries, err := os.ReadDir(m.dir)
	must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := slices.Sorted(maps.Keys(files)); !slices.Equal(names, want) {
		t.Errorf("listed: %q, want %q", names, want)
	}
	for name, was := range before {
		now := stat(name)
		if name == "f007" {
			now.Atim = was.Atim // the kernel answered that read from pages that were written
		}
		if now != was {
			t.Fatalf("%s: %+v, was %+v", name, now, was)
		}
		content, err := os.ReadFile(filepath.Join(m.dir, name))
		if string(content) != files[name] || err != nil {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if _, err := os.Stat(filepath.Join(m.dir, "f009")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("what was removed: %v", err)
	}
	m.unmount()
}
