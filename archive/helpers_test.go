package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/fs"
)

// newTree makes an empty tree that ends with the test.
func newTree(tb testing.TB) *fs.Tree {
	tb.Helper()
	home, err := fs.NewArenaHome(1 << 30)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := fs.New(home, &fs.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(t.Close(), home.Close()); err != nil {
			tb.Error(err)
		}
	})
	return t
}

// maker fills a tree, and fails the test on the first error.
type maker struct {
	tb testing.TB
	t  *fs.Tree
}

func (m maker) ok(errno syscall.Errno) {
	m.tb.Helper()
	if errno != 0 {
		m.tb.Fatal(errno)
	}
}

// at returns the inode of a path. The reference that keeps one that stands on an image is
// never returned.
func (m maker) at(path string) *fs.Inode {
	m.tb.Helper()
	n, errno := m.t.LookupPath(m.t.Root(), path)
	if errno != 0 {
		m.tb.Fatalf("lookup %s: %v", path, errno)
	}
	if m.t.Image() == nil {
		m.t.Unref(n, 1)
	}
	return n
}

func (m maker) node(path string, mode uint32, rdev uint32) *fs.Inode {
	m.tb.Helper()
	dir, name := fs.Split(path)
	var n *fs.Inode
	var errno syscall.Errno
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		n, errno = m.t.Mkdir(m.at(dir), name, mode&fs.PermBits, fs.Owner{})
	} else {
		n, errno = m.t.Mknod(m.at(dir), name, mode, rdev, fs.Owner{})
	}
	if errno != 0 {
		m.tb.Fatalf("make %s: %v", path, errno)
	}
	m.t.Unref(n, 1)
	return n
}

func (m maker) dir(path string) { m.tb.Helper(); m.node(path, syscall.S_IFDIR|0o755, 0) }

func (m maker) file(path, content string) {
	m.tb.Helper()
	n := m.node(path, syscall.S_IFREG|0o644, 0)
	m.write(n, content, 0)
}

func (m maker) write(n *fs.Inode, content string, off int64) {
	m.tb.Helper()
	if content == "" {
		return
	}
	if k, errno := m.t.WriteAt(n, []byte(content), off, false); errno != 0 || k != len(content) {
		m.tb.Fatal(k, errno)
	}
}

func (m maker) symlink(path, target string) {
	m.tb.Helper()
	dir, name := fs.Split(path)
	n, errno := m.t.Symlink(m.at(dir), name, target, fs.Owner{})
	m.ok(errno)
	m.t.Unref(n, 1)
}

func (m maker) link(path, target string) {
	m.tb.Helper()
	dir, name := fs.Split(path)
	m.ok(m.t.Link(m.at(dir), name, m.at(target)))
}

func (m maker) mtime(path string, sec int64, nsec uint32) {
	m.tb.Helper()
	_, errno := m.t.SetAttr(m.at(path), &fs.SetAttr{Valid: fs.SetMtime, Mtime: fs.Time{Sec: sec, Nsec: nsec}})
	m.ok(errno)
}

func (m maker) mode(path string, mode uint32) {
	m.tb.Helper()
	_, errno := m.t.SetAttr(m.at(path), &fs.SetAttr{Valid: fs.SetMode, Mode: mode})
	m.ok(errno)
}

func (m maker) truncate(path string, size int64) {
	m.tb.Helper()
	_, errno := m.t.SetAttr(m.at(path), &fs.SetAttr{Valid: fs.SetSize, Size: size})
	m.ok(errno)
}

func (m maker) owner(path string, uid, gid uint32) {
	m.tb.Helper()
	_, errno := m.t.SetAttr(m.at(path), &fs.SetAttr{Valid: fs.SetUID | fs.SetGID, UID: uid, GID: gid})
	m.ok(errno)
}

func (m maker) xattr(path, name, value string) {
	m.tb.Helper()
	m.ok(m.t.SetXattr(m.at(path), name, []byte(value), 0))
}

// age sets a modification time on every inode that does not depend on the clock.
func (m maker) age() {
	m.tb.Helper()
	var paths []string
	err := m.t.Walk(func(path string, _ *fs.Inode, _ fs.Attr) error {
		paths = append(paths, path)
		return nil
	})
	if err != nil {
		m.tb.Fatal(err)
	}
	for i, path := range paths {
		m.mtime(path, 1_500_000_000+int64(i), uint32(i%3)*1000)
	}
}

// content reads a file whole.
func content(tb testing.TB, t *fs.Tree, n *fs.Inode) []byte {
	tb.Helper()
	p := make([]byte, t.Attr(n).Size)
	for off := 0; off < len(p); {
		k, errno := t.ReadAt(n, p[off:], int64(off))
		if errno != 0 || k == 0 {
			tb.Fatal(k, errno)
		}
		off += k
	}
	return p
}

// dump lists all that a tree holds, a line for each name; two trees are the same
// if their dumps are.
func dump(tb testing.TB, t *fs.Tree) []string {
	tb.Helper()
	var lines []string
	names := map[uint64]string{}
	err := t.Walk(func(path string, n *fs.Inode, a fs.Attr) error {
		line := fmt.Sprintf("%q %06o %d:%d %d.%09d", path, a.Mode, a.UID, a.GID, a.Mtime.Sec, a.Mtime.Nsec)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			line += fmt.Sprintf(" size %d %s", a.Size, digest(tb, t, n, a.Size))
			if first, ok := names[a.Ino]; ok {
				line += fmt.Sprintf(" same as %q", first)
			} else {
				names[a.Ino] = path
			}
		case syscall.S_IFLNK:
			target, errno := t.Readlink(n)
			if errno != 0 {
				return errno
			}
			line += fmt.Sprintf(" -> %q", target)
		case syscall.S_IFCHR, syscall.S_IFBLK:
			line += fmt.Sprintf(" dev %d:%d", devMajor(a.Rdev), devMinor(a.Rdev))
		}
		if kind := a.Mode & syscall.S_IFMT; kind != syscall.S_IFREG && kind != syscall.S_IFDIR {
			if first, ok := names[a.Ino]; ok {
				line += fmt.Sprintf(" also %q", first)
			} else {
				names[a.Ino] = path
			}
		}
		lines = append(lines, line+xattrText(tb, t, n))
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return lines
}

var alsoNamed = regexp.MustCompile(` also "(\\.|[^"\\])*"`)

// packed is what becomes of a dump in an archive of ours, which keeps the hard links
// of files only.
func packed(dump []string) []string {
	out := make([]string, len(dump))
	for i, line := range dump {
		out[i] = alsoNamed.ReplaceAllString(line, "")
	}
	return out
}

func digest(tb testing.TB, t *fs.Tree, n *fs.Inode, size int64) string {
	if size > 64<<20 {
		return "large"
	}
	return digestOf([]byte(content(tb, t, n)))
}

func digestOf(content []byte) string {
	if len(content) <= 40 {
		return fmt.Sprintf("%q", content)
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))[:16]
}

func xattrText(tb testing.TB, t *fs.Tree, n *fs.Inode) string {
	names, errno := t.ListXattr(n)
	if errno != 0 {
		tb.Fatal(errno)
	}
	text := ""
	for _, name := range names {
		v, errno := t.GetXattr(n, name)
		if errno != 0 {
			tb.Fatal(errno)
		}
		text += fmt.Sprintf(" %s=%d:%.40q", name, len(v), v)
	}
	return text
}

func diff(a, b []string) string {
	var out strings.Builder
	for _, l := range a {
		if !slices.Contains(b, l) {
			fmt.Fprintln(&out, "-", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			fmt.Fprintln(&out, "+", l)
		}
	}
	return out.String()
}

func wantSame(tb testing.TB, want, got []string) {
	tb.Helper()
	if !slices.Equal(want, got) {
		tb.Errorf("trees differ:\n%s", diff(want, got))
	}
}

// pack returns the archive of t.
func pack(tb testing.TB, t *fs.Tree, log *Log, opts *WriterOptions) []byte {
	tb.Helper()
	var out bytes.Buffer
	s, err := NewWriter(&out, opts).WriteTree(context.Background(), t, log)
	if err != nil {
		tb.Fatal(err)
	}
	if s.Size != int64(out.Len()) {
		tb.Fatalf("summary says %d bytes, %d were written", s.Size, out.Len())
	}
	return out.Bytes()
}

// load unpacks an archive into a tree of its own.
func load(tb testing.TB, archive []byte, opts *ReaderOptions) (*fs.Tree, *Log, error) {
	tb.Helper()
	t := newTree(tb)
	log, err := NewReader(bytes.NewReader(archive), opts).Load(context.Background(), t)
	return t, log, err
}

func mustLoad(tb testing.TB, archive []byte, opts *ReaderOptions) (*fs.Tree, *Log) {
	tb.Helper()
	t, log, err := load(tb, archive, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return t, log
}

// testLog is a log with n earlier commits, always the same.
func testLog(n int) *Log {
	at := func(i int) time.Time { return time.Unix(1_700_000_000+int64(i), 123456789).UTC() }
	id := func(i int) CommitID { return CommitID(fmt.Sprintf("%032x", i+1)) }
	var l *Log
	for i := range n + 1 {
		l = l.Next(Record{
			ID: id(i), Time: at(i), Tool: "workdir test", Host: "host",
			Changed: fs.Changes{Created: 1, Modified: 2, Removed: 3, Bytes: 4},
		})
	}
	return l
}

// stepLog is a log with n earlier commits, each a step of one of some workflows
// that takes turns on three workers, with a result of the given size.
func stepLog(n, workflows, size int) *Log {
	r := rand.New(rand.NewPCG(1, 2))
	uuid := func(r *rand.Rand) string {
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", r.Uint32(), r.Uint32()>>16, r.Uint32()>>16, r.Uint32()>>16, r.Uint64()>>16)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var l *Log
	for i := range n + 1 {
		at = at.Add(time.Duration(r.Int64N(int64(time.Minute))))
		run := uuid(rand.New(rand.NewPCG(3, uint64(i%workflows))))
		workflow := fmt.Sprintf("order-%d", i%workflows)
		activity := fmt.Sprint(5 + 6*(i/workflows))
		worker := fmt.Sprintf("worker-%d", r.IntN(3))
		l = l.Next(Record{
			ID:   CommitID(strings.ReplaceAll(uuid(r), "-", "")),
			Time: at, Tool: "workdir/v1.2.3", Host: worker,
			Changed: fs.Changes{Created: r.Int64N(5), Modified: r.Int64N(50), Removed: r.Int64N(2), Bytes: r.Int64N(1 << 20)},
			Origin: Origin{
				Workspace: "s3://bucket/jobs/" + workflow,
				Execution: `temporal:["default","` + workflow + `","` + run + `","` + activity + `"]`,
				Step:      "1", Attempt: 1 + r.Int32N(2), Namespace: "default",
				WorkflowID: workflow, RunID: run, WorkflowType: "OrderWorkflow",
				ActivityID: activity, ActivityType: []string{"Fetch", "Build", "Test", "Report"}[i%4],
				TaskQueue: "orders", Worker: "17@" + worker + "@",
			},
			Result: bytes.Repeat([]byte("r"), size),
		})
	}
	return l
}

// gz compresses b as one member.
func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// tarOf returns the raw tar of entries, with its end. A string is the content of
// the header before it.
func tarOf(parts ...any) []byte {
	return append(openTarOf(parts...), make([]byte, 2*blockSize)...)
}

// openTarOf is tarOf without the end.
func openTarOf(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case *header:
			out, _ = p.encode(out)
		case []byte:
			out = append(out, p...)
		case string:
			out = append(out, p...)
			out = append(out, make([]byte, padding(int64(len(p))))...)
		}
	}
	return out
}

// tgz is a gzipped tarOf.
func tgz(parts ...any) []byte { return gz(tarOf(parts...)) }

func fileHead(name string, size int) *header {
	return &header{name: name, kind: kindFile, mode: 0o644, size: int64(size), mtime: fs.Time{Sec: 1_700_000_000}}
}

func dirHead(name string) *header {
	return &header{name: name, kind: kindDir, mode: 0o750, mtime: fs.Time{Sec: 1_600_000_000}}
}

func linkHead(k kind, name, target string) *header {
	return &header{name: name, kind: k, mode: 0o777, link: target, mtime: fs.Time{Sec: 1_700_000_000}}
}

// raw returns the blocks of h with its header block changed by edit.
func rawHead(h *header, edit func(b *block)) []byte {
	out, _ := h.encode(nil)
	b := (*block)(out[len(out)-blockSize:])
	edit(b)
	b.seal()
	return out
}

// failReader returns the bytes of r and then err.
func failReader(p []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(p), errReader{err})
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }
