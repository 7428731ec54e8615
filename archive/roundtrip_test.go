package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/fs"
)

// fullTree makes a tree with every kind of entry and every oddity of attributes.
func fullTree(tb testing.TB) *fs.Tree {
	tb.Helper()
	t := newTree(tb)
	m := maker{tb, t}
	m.dir("dir")
	m.dir("dir/empty")
	m.dir("dir/closed")
	m.file("dir/closed/in", "in a directory without w")
	m.file("dir/hello", "hello, world\n")
	m.file("empty", "")
	m.file("run", "#!/bin/sh\n")
	m.symlink("sym", "dir/hello")
	m.symlink("dangling", "not/there")
	m.symlink("absolute", "/usr/bin/python3")
	m.symlink("long-symlink", strings.Repeat("abcdefgh/", 300)+"end")
	m.node("pipe", syscall.S_IFIFO|0o600, 0)
	m.link("dir/second", "run")
	m.link("zz-third", "run")
	m.file("grün 日本\nline", "utf-8 and a newline")
	m.file("bad-\xff\xfe\x80", "not utf-8")
	m.file(strings.Repeat("n", 255), "longest name")
	m.file("dir/"+strings.Repeat("m", 99), "name that just does not fit with its directory")
	deep := strings.TrimSuffix(strings.Repeat("sub-directory/", 30), "/")
	for i := range deep {
		if deep[i] == '/' {
			m.dir(deep[:i])
		}
	}
	m.dir(deep)
	m.file(deep+"/leaf\xfe", "deep, not utf-8, and its hard link")
	m.link(deep+"/"+strings.Repeat("l", 200), deep+"/leaf\xfe")
	m.node("sparse", syscall.S_IFREG|0o644, 0)
	m.write(m.at("sparse"), "at the start", 0)
	m.write(m.at("sparse"), "in the middle", 3<<20+17)
	_, errno := t.SetAttr(m.at("sparse"), &fs.SetAttr{Valid: fs.SetSize, Size: 9<<20 + 1})
	m.ok(errno)
	m.file("big", randomText(3<<20+333))
	m.xattr("dir/hello", "user.comment", "a\x00b\nc=d")
	m.xattr("dir/hello", "user.a=b%25%", "odd name")
	m.xattr("dir/hello", "user.empty", "")
	m.xattr("dir/hello", "user.big", strings.Repeat("x", 60000))
	m.xattr("dir", "user.dir", "of a directory")
	m.age()
	m.owner("dir/hello", 1000, 3_000_000)
	m.owner("sym", 4294967294, 2)
	m.mode("run", 0o6755)
	m.mode("dir", 0o3775)
	m.mode("empty", 0)
	m.mtime("empty", 0, 0)
	m.mtime("pipe", -1, 500_000_000)
	m.mtime("big", -77, 1)
	m.mtime("sparse", 1<<33, 999_999_999)
	m.mtime("dir/hello", 1<<40, 0)
	m.mtime("sym", 1_234_567_890, 120_000_000)
	m.mode("dir/closed", 0o555)
	m.mtime("dir/empty", 11, 22)
	m.mtime("dir", 33, 44)
	m.mode("", 0o1770)
	m.mtime("", 55, 66)
	m.xattr("", "user.root", "of the root")
	return t
}

func randomText(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefgh"[r.IntN(8)]
	}
	return string(b)
}

func TestRoundTrip(t *testing.T) {
	tree := fullTree(t)
	if err := Check(context.Background(), tree, nil); err != nil {
		t.Fatal(err)
	}
	log := testLog(3)
	archive := pack(t, tree, log, nil)
	got, gotLog := mustLoad(t, archive, nil)
	wantSame(t, dump(t, tree), dump(t, got))
	want := *log
	want.Record.Root = gotLog.Record.Root
	if !reflect.DeepEqual(&want, gotLog) {
		t.Errorf("log is %+v, want %+v", gotLog, &want)
	}
	if root := gotLog.Record.Root; root.Mode != syscall.S_IFDIR|0o1770 || string(root.Xattrs["user.root"]) != "of the root" {
		t.Errorf("root in the log is %+v", root)
	}
	fromEnd, err := ReadLog(bytes.NewReader(archive), int64(len(archive)))
	if err != nil || !reflect.DeepEqual(fromEnd, gotLog) {
		t.Errorf("ReadLog returns %+v, %v; Load %+v", fromEnd, err, gotLog)
	}
}

func TestHolesStayHoles(t *testing.T) {
	got, _ := mustLoad(t, pack(t, fullTree(t), nil, nil), nil)
	m := maker{t, got}
	if a := got.Attr(m.at("sparse")); a.Blocks*512 > 64<<10 {
		t.Errorf("a file of %d bytes with two words in it takes %d blocks", a.Size, a.Blocks)
	}
}

func TestPackIsDeterministic(t *testing.T) {
	first := pack(t, fullTree(t), testLog(2), nil)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	second := pack(t, fullTree(t), testLog(2), nil)
	if !bytes.Equal(first, second) {
		t.Error("two packs of equal trees differ")
	}
	loaded, _ := mustLoad(t, first, nil)
	if !bytes.Equal(first, pack(t, loaded, testLog(2), nil)) {
		t.Error("the pack of what was loaded differs")
	}
}

// The header of the gzip member has no time of day and no name in it.
func TestGzipHeader(t *testing.T) {
	want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	if got := pack(t, newTree(t), nil, nil)[:10]; !bytes.Equal(got, want) {
		t.Errorf("the archive begins with % x, want % x", got, want)
	}
}

func TestEmptyTree(t *testing.T) {
	tree := newTree(t)
	archive := pack(t, tree, testLog(0), nil)
	got, log := mustLoad(t, archive, nil)
	if !got.Empty() || log == nil {
		t.Errorf("empty %v, log %v", got.Empty(), log)
	}
	wantSame(t, dump(t, tree), dump(t, got))
}

func TestOwnerOption(t *testing.T) {
	got, _ := mustLoad(t, pack(t, fullTree(t), testLog(0), nil), &ReaderOptions{Owner: &fs.Owner{UID: 7, GID: 8}})
	err := got.Walk(func(path string, _ *fs.Inode, a fs.Attr) error {
		if a.UID != 7 || a.GID != 8 {
			return fmt.Errorf("%q belongs to %d:%d", path, a.UID, a.GID)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A set-user-ID program of one user once became that of the user who opened the workspace.
func TestAnotherOwnerLendsNoRights(t *testing.T) {
	for _, c := range []struct {
		name     string
		of, to   fs.Owner
		mode     uint32
		want     uint32
		keep     bool // the archive's owners
		dir      bool
		warnings int
	}{
		{"of the same", fs.Owner{UID: 7, GID: 8}, fs.Owner{UID: 7, GID: 8}, 0o6755, 0o6755, false, false, 0},
		{"owners are kept", fs.Owner{UID: 7, GID: 8}, fs.Owner{}, 0o6755, 0o6755, true, false, 0},
		{"another user", fs.Owner{UID: 7, GID: 8}, fs.Owner{UID: 0, GID: 8}, 0o4755, 0o755, false, false, 1},
		{"another group", fs.Owner{UID: 7, GID: 8}, fs.Owner{UID: 7, GID: 0}, 0o2775, 0o775, false, false, 1},
		{"both", fs.Owner{UID: 7, GID: 8}, fs.Owner{}, 0o7711, 0o1711, false, false, 1},
		{"nothing to lend", fs.Owner{UID: 7, GID: 8}, fs.Owner{}, 0o755, 0o755, false, false, 0},
		{"a directory", fs.Owner{UID: 7, GID: 8}, fs.Owner{}, 0o2775, 0o2775, false, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fileHead("x", 0)
			if c.dir {
				h = dirHead("x")
			}
			h.mode, h.owner = c.mode, c.of
			h.xattrs = []xattr{{"security.capability", []byte("v")}}
			var warned []Warning
			opts := &ReaderOptions{Owner: &c.to, AllXattrs: true, Warn: func(w Warning) { warned = append(warned, w) }}
			if c.keep {
				opts.Owner = nil
			}
			tree, _ := mustLoad(t, tgz(h), opts)
			n, errno := tree.Lookup(tree.Root(), "x")
			if errno != 0 {
				t.Fatal(errno)
			}
			defer tree.Unref(n, 1)
			if a := tree.Attr(n); a.Mode&fs.PermBits != c.want {
				t.Errorf("mode %o, want %o", a.Mode&fs.PermBits, c.want)
			}
			_, errno = tree.GetXattr(n, "security.capability")
			if kept := errno == 0; kept != (c.keep || c.dir || c.of == c.to) {
				t.Errorf("file capabilities are kept: %v", kept)
			} else if !kept {
				c.warnings++
			}
			if len(warned) != c.warnings {
				t.Errorf("warnings %v, want %d", warned, c.warnings)
			}
		})
	}
}

func TestDeviceNodes(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.node("tty", syscall.S_IFCHR|0o620, makedev(4095, 1<<20-1))
	m.node("disk", syscall.S_IFBLK|0o660, makedev(8, 1))
	if err := Check(context.Background(), tree, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("Check says %v", err)
	}
	archive := pack(t, tree, testLog(0), &WriterOptions{Devices: true})
	if _, _, err := load(t, archive, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("Load says %v", err)
	}
	got, _ := mustLoad(t, archive, &ReaderOptions{Devices: true})
	wantSame(t, dump(t, tree), dump(t, got))
}

func TestWriterWarns(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.node("a-socket", syscall.S_IFSOCK|0o600, 0)
	m.node("b-socket", syscall.S_IFSOCK|0o600, 0)
	m.node("pipe", syscall.S_IFIFO|0o600, 0)
	m.symlink("out", "../out")
	m.symlink("s1", "x")
	m.link("s2", "s1")
	var got []string
	pack(t, tree, nil, &WriterOptions{Warn: func(w Warning) { got = append(got, w.String()) }})
	want := []string{
		`"a-socket": sockets are left out`,
		`"out": ` + reasonLink,
		`"pipe": ` + reasonNode,
		`"s2": hard links between symbolic links, FIFOs or devices are stored as separate entries`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPortable(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.dir("d")
	m.dir("d/e")
	m.file("f", "x")
	m.node("pipe", syscall.S_IFIFO|0o600, 0)
	for path, target := range map[string]string{
		"fine":       "d/e",
		"d/fine":     "../f",
		"d/e/fine":   "../../f/../f",
		"dangling":   "no/where",
		"beside":     "fine",
		"absolute":   "/etc/passwd",
		"up":         "..",
		"d/up":       "../../f",
		"down-up":    "d/../../f",
		"root":       ".",
		"d/e/to-top": "../..",
		"through":    "d/e/to-top/../x",
		"loop-a":     "./loop-b",
		"loop-b":     "./loop-a",
	} {
		m.symlink(path, target)
	}
	err := Check(context.Background(), tree, &WriterOptions{Portable: true})
	var p *PortableError
	want := []string{"absolute", "d/up", "down-up", "loop-a", "loop-b", "pipe", "through", "up"}
	if !errors.As(err, &p) || !errors.Is(err, ErrPortable) || !reflect.DeepEqual(p.Paths, want) {
		t.Fatalf("Check says %v, want %v", err, want)
	}
	if _, err := NewWriter(io.Discard, &WriterOptions{Portable: true}).WriteTree(context.Background(), tree, nil); !errors.Is(err, ErrPortable) {
		t.Errorf("WriteTree says %v", err)
	}
	if err := Check(context.Background(), tree, nil); err != nil {
		t.Errorf("without Portable Check says %v", err)
	}
}

func TestWriterHoldsTheReadersLimits(t *testing.T) {
	tree := fullTree(t)
	archive := pack(t, tree, testLog(3), nil)
	for _, c := range []struct {
		name string
		lim  Limits
	}{
		{"Entries", Limits{Entries: 10}},
		{"PathLen", Limits{PathLen: 300}},
		{"NameLen", Limits{NameLen: 254}},
		{"Depth", Limits{Depth: 20}},
		{"SymlinkLen", Limits{SymlinkLen: 2000}},
		{"FileBytes", Limits{FileBytes: 1 << 20}},
		{"TotalBytes", Limits{TotalBytes: 10 << 20}},
		{"HeaderBytes", Limits{HeaderBytes: 60000}},
		{"XattrBytes", Limits{XattrBytes: 59999}},
		{"MetaBytes", Limits{MetaBytes: 61000}},
		{"LogBytes", Limits{LogBytes: 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantLimit := func(what string, err error) {
				t.Helper()
				var l *LimitError
				if !errors.As(err, &l) || l.Limit != c.name || !errors.Is(err, ErrLimit) {
					t.Errorf("%s says %v", what, err)
				}
				advice := "divide it among workspaces"
				if what == "Load" {
					advice = "raise the limit"
				}
				if !strings.Contains(err.Error(), advice) {
					t.Errorf("%s says %v, and not: %s", what, err, advice)
				}
			}
			_, err := NewWriter(io.Discard, &WriterOptions{Limits: &c.lim}).WriteTree(context.Background(), tree, testLog(3))
			wantLimit("WriteTree", err)
			if c.name != "LogBytes" {
				wantLimit("Check", Check(context.Background(), tree, &WriterOptions{Limits: &c.lim}))
			}
			_, _, err = load(t, archive, &ReaderOptions{Limits: &c.lim})
			wantLimit("Load", err)
		})
	}
}

type failingWriter struct{ left int }

var errWriter = errors.New("the store is gone")

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errWriter
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	tree := fullTree(t)
	size := len(pack(t, tree, testLog(0), nil))
	before := runtime.NumGoroutine()
	for _, left := range []int{0, 5, 10, 1000, size / 2, size - 200, size - 1} {
		_, err := NewWriter(&failingWriter{left}, nil).WriteTree(context.Background(), tree, testLog(0))
		if !errors.Is(err, errWriter) {
			t.Errorf("after %d bytes WriteTree says %v", left, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewWriter(io.Discard, nil).WriteTree(ctx, tree, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled WriteTree says %v", err)
	}
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
}

func TestReaderFails(t *testing.T) {
	archive := pack(t, fullTree(t), testLog(0), nil)
	errSource := errors.New("the store is gone")
	for _, n := range []int{0, 1, 10, 1000, len(archive) / 2, len(archive) - 1, len(archive)} {
		tree := newTree(t)
		_, err := NewReader(failReader(archive[:n], errSource), nil).Load(context.Background(), tree)
		if !errors.Is(err, errSource) || errors.Is(err, ErrFormat) {
			t.Errorf("after %d bytes Load says %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := NewReader(bytes.NewReader(archive), nil).Load(ctx, newTree(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Load says %v", err)
	}
}

func TestTreeIsFull(t *testing.T) {
	home, err := fs.NewArenaHome(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	tree, err := fs.New(home, &fs.Options{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	archive := pack(t, fullTree(t), nil, nil)
	if _, err := NewReader(bytes.NewReader(archive), nil).Load(context.Background(), tree); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Load says %v", err)
	}
}

func TestProgress(t *testing.T) {
	tree := fullTree(t)
	var in, read int64
	archive := pack(t, tree, nil, &WriterOptions{Progress: func(n int64) { in = n }})
	mustLoad(t, archive, &ReaderOptions{Progress: func(n int64) { read = n }})
	if in < 1<<20 || read != int64(len(archive)) {
		t.Errorf("progress says %d in, %d of %d read", in, read, len(archive))
	}
}

// The first path of every file with several names was once kept whole, which in deep
// directories took more memory than a mount may have.
func TestLinksInDeepDirectoriesTakeLittle(t *testing.T) {
	const files = 2000
	tree := newTree(t)
	m := maker{t, tree}
	dir := ""
	for range 15 {
		dir += strings.Repeat("d", 250)
		m.dir(dir)
		dir += "/"
	}
	for i := range files {
		m.file(fmt.Sprintf("%sf%d", dir, i), "")
		m.link(fmt.Sprintf("%sg%d", dir, i), fmt.Sprintf("%sf%d", dir, i))
	}
	linked := 0
	before := heapInUse()
	e := newEntries(tree, &WriterOptions{})
	err := e.each(t.Context(), func(h *header, _ []byte, _ *fs.Inode) error {
		if h.kind == kindLink {
			linked++
			if want := strings.Replace(h.name, "/g", "/f", 1); h.link != want {
				t.Fatalf("it is a link to %s", h.link)
			}
		}
		return nil
	})
	if err != nil || linked != files {
		t.Errorf("%d links, %v", linked, err)
	}
	if took := heapInUse() - before; took > files*500 {
		t.Errorf("%d bytes were taken for %d links", took, files)
	}
	runtime.KeepAlive(e)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
