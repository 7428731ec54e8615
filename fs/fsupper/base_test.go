package fsupper

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
)

// maker fills a tree.
type maker struct {
	tb testing.TB
	t  *fs.Tree
}

func (m maker) ok(errno syscall.Errno) {
	m.tb.Helper()
	must(m.tb, orNil(errno))
}

// at returns the inode of a path. It gives the reference up: a tree that was filled by
// verbs keeps what has a name.
func (m maker) at(path string) *fs.Inode {
	m.tb.Helper()
	n, errno := m.t.LookupPath(m.t.Root(), path)
	if errno != 0 {
		m.tb.Fatalf("%s: %v", path, errno)
	}
	m.t.Unref(n, 1)
	return n
}

// baseTime is the mtime of everything in a base, and owner its owner.
var (
	baseTime = fs.Time{Sec: 1_600_000_000, Nsec: 123_456_789}
	owner    = fs.Owner{UID: 1000, GID: 100}
)

func (m maker) made(n *fs.Inode, errno syscall.Errno) {
	m.tb.Helper()
	m.ok(errno)
	m.t.Unref(n, 1)
}

func (m maker) dir(path string) {
	m.tb.Helper()
	dir, name := fs.Split(path)
	m.made(m.t.Mkdir(m.at(dir), name, 0o755, owner))
}

func (m maker) file(path, content string) {
	m.tb.Helper()
	dir, name := fs.Split(path)
	m.made(m.t.Mknod(m.at(dir), name, syscall.S_IFREG|0o644, 0, owner))
	_, errno := m.t.WriteAt(m.at(path), []byte(content), 0, false)
	m.ok(errno)
}

func (m maker) symlink(path, target string) {
	m.tb.Helper()
	dir, name := fs.Split(path)
	m.made(m.t.Symlink(m.at(dir), name, target, owner))
}

func (m maker) link(path, old string) {
	m.tb.Helper()
	dir, name := fs.Split(path)
	m.ok(m.t.Link(m.at(dir), name, m.at(old)))
}

// settle gives everything its mtime.
func (m maker) settle() {
	m.tb.Helper()
	must(m.tb, m.t.Walk(func(_ string, n *fs.Inode, _ fs.Attr) error {
		_, errno := m.t.SetAttr(n, &fs.SetAttr{Valid: fs.SetMtime, Mtime: baseTime})
		return orNil(errno)
	}))
}

// pack returns the archive of what fill makes.
func pack(tb testing.TB, fill func(m maker)) []byte {
	tb.Helper()
	return packAs(tb, newLog(nil), nil, fill)
}

// packAs is pack with a log, which may be nil, and options.
func packAs(tb testing.TB, log *archive.Log, opts *archive.WriterOptions, fill func(m maker)) []byte {
	tb.Helper()
	home, err := fs.NewArenaHome(2 << 30)
	must(tb, err)
	t, err := fs.New(home, nil)
	must(tb, err)
	m := maker{tb, t}
	fill(m)
	m.settle()
	var out bytes.Buffer
	_, err = archive.NewWriter(&out, opts).WriteTree(tb.Context(), t, log)
	must(tb, err)
	must(tb, t.Close())
	must(tb, home.Close())
	return out.Bytes()
}

func newLog(l *archive.Log) *archive.Log {
	return l.Next(archive.Record{ID: archive.NewCommitID(), Time: time.Unix(1_700_000_000, 0).UTC(), Tool: "test"})
}

// noise returns incompressible content.
func noise(seed byte, size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return string(b)
}

const mib = 1 << 20

// full is a base with an entry of each kind.
func full(m maker) {
	for _, dir := range []string{"a", "a/b", "a/b/c", "d", "d/e", "empty", "x", "x/y", "gone"} {
		m.dir(dir)
	}
	for i, path := range []string{"f", "a/f", "a/g", "a/b/f", "a/b/c/deep", "d/f", "d/e/f", "x/f", "x/y/f", "gone/f"} {
		m.file(path, strings.Repeat(path, 10+100*i))
	}
	m.file("zero", "")
	m.file("big", noise(1, 5*mib+1000))
	m.file("d/big", noise(2, 3*mib))
	m.symlink("a/link", "../f")
	m.symlink("broken", "nowhere")
	m.file("h1", "hard links")
	m.link("a/h2", "h1")
	m.link("d/e/h3", "h1")
	m.file("a/pair", "a pair")
	m.link("a/pair2", "a/pair")
	m.made(m.t.Mknod(m.at("x"), "fifo", syscall.S_IFIFO|0o600, 0, owner))
	m.file("x/sparse", "")
	for _, off := range []int64{0, 2*mib + 4096, 9 * mib} {
		_, errno := m.t.WriteAt(m.at("x/sparse"), []byte("data"), off, false)
		m.ok(errno)
	}
	m.ok(m.t.SetXattr(m.at("f"), "user.one", []byte("1"), 0))
	m.ok(m.t.SetXattr(m.at("f"), "user.two", []byte("2"), 0))
	m.ok(m.t.SetXattr(m.at("a/b"), "user.dir", []byte("dir"), 0))
	m.ok(m.t.SetXattr(m.t.Root(), "user.root", []byte("root"), 0))
	m.file("x/suid", "suid")
	_, errno := m.t.SetAttr(m.at("x/suid"), &fs.SetAttr{Valid: fs.SetMode, Mode: 0o4755})
	m.ok(errno)
	_, errno = m.t.SetAttr(m.at("x/y"), &fs.SetAttr{Valid: fs.SetMode, Mode: 0o2775})
	m.ok(errno)
	m.dir(strings.Repeat("n", 255))
	m.file(strings.Repeat("n", 255)+"/"+strings.Repeat("m", 255), "long")
}
