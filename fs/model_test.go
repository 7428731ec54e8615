package fs

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestMain makes the runs of the random tests longer: some faults need many
// steps. The flags of the command line count nevertheless.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.steps", "100"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestTreeIsATmpfs does random things to a tree and to a tmpfs of the kernel,
// and compares every answer and, after each step, all that there is.
func TestTreeIsATmpfs(t *testing.T) {
	for name, newHome := range homes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { runModel(t, newHome) })
		})
	}
}

func runModel(t *rapid.T, makeHome func(int64) (Home, error)) {
	home, err := makeHome(testHomeSize)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := New(home, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{ours: &treeSide{tree: tree}, theirs: newKernelSide(t)}
	if m.spool, err = tree.NewSpool(); err != nil {
		t.Fatal(err)
	}
	defer m.theirs.close()
	t.Repeat(m.actions())
	for slot := range 2 {
		m.ours.drop(slot)
		m.theirs.drop(slot)
	}
	m.check(t)
	closeModel(t, m.ours.tree)
	total, free, err := home.StatFS()
	if err != nil || total != free {
		t.Fatalf("after Close %d of %d bytes are free, %v", free, total, err)
	}
	must(t, home.Close())
}

func closeModel(t *rapid.T, tree *Tree) {
	must(t, tree.Close())
	if used, text, heap := tree.bytes.used.Load(), tree.text.used.Load(), tree.heap.used.Load(); used|text|heap != 0 {
		t.Fatalf("after Close %d bytes are counted as used, %d of text and %d of the heap", used, text, heap)
	}
}

// model does each thing to both sides.
type model struct {
	ours   *treeSide
	theirs *kernelSide
	spool  *Spool
}

// both compares the answers of the sides.
func (m *model) both(t *rapid.T, what string, do func(side) syscall.Errno) syscall.Errno {
	ours, theirs := do(m.ours), do(m.theirs)
	if ours != theirs {
		t.Fatalf("%s: the tree says %v, tmpfs %v", what, orNil(ours), orNil(theirs))
	}
	return ours
}

var (
	modelName  = rapid.SampledFrom([]string{"a", "b", "c", strings.Repeat("n", 255), strings.Repeat("n", 256)})
	modelStart = rapid.SampledFrom([]string{"", "", "", "", "@0/", "@1/"})
	modelSize  = rapid.OneOf(rapid.Int64Range(0, 20000), rapid.Map(rapid.Int64Range(0, 40), func(p int64) int64 { return p * 4096 }), rapid.Just(int64(1<<20)))
	modelMode  = rapid.SampledFrom([]uint32{0o600, 0o755, 0o1777, 0o444})
)

// path is a path of one to three names.
func path(t *rapid.T, label string) string {
	names := rapid.SliceOfN(modelName, 1, 3).Draw(t, label)
	return modelStart.Draw(t, label) + strings.Join(names, "/")
}

// inodePath is a path of an inode, which may be one that is held or the root.
func inodePath(t *rapid.T, label string) string {
	if rapid.IntRange(0, 3).Draw(t, label) == 0 {
		return rapid.SampledFrom([]string{"@0", "@1", ""}).Draw(t, label)
	}
	return path(t, label)
}

// kindOf returns an inode's kind, 0 for none.
func (m *model) kindOf(path string) uint32 {
	a, _ := m.ours.stat(path)
	return a.Mode & syscall.S_IFMT
}

// regularPath is a path of a regular file; the step is given up if it is not.
func (m *model) regularPath(t *rapid.T, label string) string {
	p := inodePath(t, label)
	if m.kindOf(p) != syscall.S_IFREG {
		t.Skip("no regular file")
	}
	return p
}

func (m *model) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": m.check}
	for _, group := range []map[string]func(*rapid.T){m.nameActions(), m.contentActions(), m.attrActions(), {"reopen": m.reopen}} {
		for name, action := range group {
			all[name] = action
		}
	}
	return all
}

// reopen continues with a tree on an image of the present one. It returns all references,
// since no image has them.
func (m *model) reopen(t *rapid.T) {
	for slot := range 2 {
		m.ours.drop(slot)
		m.theirs.drop(slot)
	}
	old := m.ours.tree
	if holdsUnseen(t, old) {
		t.Skip("there is memory that no image keeps")
	}
	img := imageOf(t, old)
	closeModel(t, old)
	tree, err := NewOn(img, old.home, nil)
	must(t, err)
	m.ours.tree = tree
	if m.spool, err = tree.NewSpool(); err != nil {
		t.Fatal(err)
	}
}

// holdsUnseen reports whether a file takes memory that SEEK_DATA does not find.
func holdsUnseen(t *rapid.T, tree *Tree) (unseen bool) {
	must(t, tree.Walk(func(_ string, n *Inode, a Attr) error {
		if n.isRegular() && a.Size > 0 {
			unseen = unseen || memBaseOf(t, tree, n).Used() != a.Blocks*512
		} else {
			unseen = unseen || a.Blocks > 0
		}
		return nil
	}))
	return unseen
}

func (m *model) nameActions() map[string]func(*rapid.T) {
	slot := rapid.IntRange(0, 1)
	return map[string]func(*rapid.T){
		"create": func(t *rapid.T) {
			p, kind := path(t, "path"), rapid.SampledFrom([]uint32{syscall.S_IFREG, syscall.S_IFREG, syscall.S_IFIFO, syscall.S_IFSOCK}).Draw(t, "kind")
			m.both(t, "mknod "+p, func(s side) syscall.Errno { return s.mknod(p, kind|0o644) })
		},
		"mkdir": func(t *rapid.T) {
			p, mode := path(t, "path"), rapid.SampledFrom([]uint32{0o755, 0o700}).Draw(t, "mode")
			m.both(t, "mkdir "+p, func(s side) syscall.Errno { return s.mkdir(p, mode) })
		},
		"mkdir once more": func(t *rapid.T) {
			p := path(t, "path")
			m.both(t, "mkdir "+p, func(s side) syscall.Errno { return s.mkdir(p, 0o755) })
		},
		"symlink": func(t *rapid.T) {
			p := path(t, "path")
			m.both(t, "symlink "+p, func(s side) syscall.Errno { return s.symlink(p, "nowhere") })
		},
		"link": func(t *rapid.T) {
			from, p := inodePath(t, "old"), path(t, "path")
			m.both(t, "link "+from+" "+p, func(s side) syscall.Errno { return s.link(from, p) })
		},
		"tmpfile": func(t *rapid.T) {
			p, at := inodePath(t, "path"), slot.Draw(t, "slot")
			if m.kindOf(p) == syscall.S_IFDIR {
				m.both(t, "tmpfile "+p, func(s side) syscall.Errno { return s.tmpfile(p, at) })
			}
		},
		"unlink": func(t *rapid.T) {
			p := path(t, "path")
			m.both(t, "unlink "+p, func(s side) syscall.Errno { return s.unlink(p) })
		},
		"rmdir": func(t *rapid.T) {
			p := path(t, "path")
			m.both(t, "rmdir "+p, func(s side) syscall.Errno { return s.rmdir(p) })
		},
		"rename": func(t *rapid.T) {
			from, to := path(t, "from"), path(t, "to")
			flags := rapid.SampledFrom([]uint32{0, 0, RenameNoReplace, RenameExchange, 3, 8}).Draw(t, "flags")
			m.both(t, fmt.Sprintf("rename %s %s %d", from, to, flags), func(s side) syscall.Errno { return s.rename(from, to, flags) })
		},
		"hold": func(t *rapid.T) {
			p, at := inodePath(t, "path"), slot.Draw(t, "slot")
			m.both(t, "hold "+p, func(s side) syscall.Errno { return s.hold(p, at) })
		},
		"drop": func(t *rapid.T) {
			at := slot.Draw(t, "slot")
			m.ours.drop(at)
			m.theirs.drop(at)
		},
	}
}

func (m *model) contentActions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"write": func(t *rapid.T) {
			p, off := m.regularPath(t, "path"), modelSize.Draw(t, "off")
			data := pattern(rapid.IntRange(0, 100000).Draw(t, "length"), byte(off))
			m.both(t, fmt.Sprintf("write %s %d", p, off), func(s side) syscall.Errno { return s.write(p, data, off) })
		},
		"write to anything": func(t *rapid.T) {
			p := inodePath(t, "path")
			if kind := m.kindOf(p); kind == 0 || kind == syscall.S_IFDIR {
				m.both(t, "write "+p, func(s side) syscall.Errno { return s.write(p, []byte("x"), 0) })
				m.both(t, "truncate "+p, func(s side) syscall.Errno { return s.truncate(p, 0) })
			}
		},
		"truncate": func(t *rapid.T) {
			p, size := m.regularPath(t, "path"), modelSize.Draw(t, "size")-1
			m.both(t, fmt.Sprintf("truncate %s %d", p, size), func(s side) syscall.Errno { return s.truncate(p, size) })
		},
		"allocate": func(t *rapid.T) {
			p, off, length := m.regularPath(t, "path"), modelSize.Draw(t, "off")-1, modelSize.Draw(t, "length")
			mode := rapid.SampledFrom([]uint32{
				0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
				unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_COLLAPSE_RANGE,
			}).Draw(t, "mode")
			m.both(t, fmt.Sprintf("allocate %s %d %d %d", p, off, length, mode), func(s side) syscall.Errno {
				return s.allocate(p, off, length, mode)
			})
		},
		"copy": func(t *rapid.T) {
			src, dst := m.regularPath(t, "src"), m.regularPath(t, "dst")
			soff, doff, length := modelSize.Draw(t, "soff"), modelSize.Draw(t, "doff"), modelSize.Draw(t, "length")
			var got []int64
			m.both(t, fmt.Sprintf("copy %s %d %s %d %d", src, soff, dst, doff, length), func(s side) syscall.Errno {
				n, errno := s.copyRange(src, soff, dst, doff, length)
				got = append(got, n)
				return errno
			})
			if got[0] != got[1] {
				t.Fatalf("copied %d and %d bytes", got[0], got[1])
			}
		},
		"set base": m.setBase,
	}
}

// setBase makes content with some holes the base of an empty file.
func (m *model) setBase(t *rapid.T) {
	p := m.regularPath(t, "path")
	pages := rapid.SliceOfN(rapid.Bool(), 1, 20).Draw(t, "pages")
	n, errno := m.ours.get(p)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer m.ours.tree.Unref(n, 1)
	if a := m.ours.tree.Attr(n); a.Size != 0 || a.Blocks != 0 {
		t.Skip("not empty")
	}
	if _, ofImage := m.ours.tree.Row(n); ofImage {
		t.Skip("it has a base of its own")
	}
	size := int64(len(pages))*pageSize - 10
	content := make([]byte, size)
	m.theirs.truncate(p, size)
	for i, data := range pages {
		if off := int64(i) * pageSize; data {
			part := content[off:min(size, off+pageSize)]
			copy(part, pattern(len(part), byte(i)))
			m.theirs.write(p, part, off)
		} else if i == len(pages)-1 {
			// A block that is not whole is data, zeros or not.
			m.theirs.write(p, content[off:], off)
		}
	}
	base, err := m.spool.Add(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if errno := m.ours.tree.SetBase(n, base); errno != 0 {
		t.Fatal(errno)
	}
	m.both(t, "setMtime", func(s side) syscall.Errno { return s.setMtime(p, longAgo) })
}

func (m *model) attrActions() map[string]func(*rapid.T) {
	xattr := rapid.SampledFrom([]string{"user.a", "user.b", "trusted.c", "security.d", "user.", "other.e", "user." + strings.Repeat("x", 251)})
	// attrPath is a path of a file or a directory: what these operations do to a
	// symlink or to a FIFO the kernel decides alone.
	attrPath := func(t *rapid.T) string {
		p := inodePath(t, "path")
		if kind := m.kindOf(p); kind != syscall.S_IFREG && kind != syscall.S_IFDIR {
			t.Skip("neither file nor directory")
		}
		return p
	}
	return map[string]func(*rapid.T){
		"chmod": func(t *rapid.T) {
			p, mode := attrPath(t), modelMode.Draw(t, "mode")
			if m.kindOf(p) == syscall.S_IFDIR && rapid.Bool().Draw(t, "setgid") {
				mode |= syscall.S_ISGID
			}
			m.both(t, "chmod "+p, func(s side) syscall.Errno { return s.chmod(p, mode) })
		},
		"chown": func(t *rapid.T) {
			p, id := attrPath(t), rapid.Uint32Range(0, 3).Draw(t, "id")
			m.both(t, "chown "+p, func(s side) syscall.Errno { return s.chown(p, id, id+1) })
		},
		"age": func(t *rapid.T) {
			p := attrPath(t)
			m.both(t, "setMtime "+p, func(s side) syscall.Errno { return s.setMtime(p, longAgo) })
		},
		"set xattr": func(t *rapid.T) {
			p, name, flags := attrPath(t), xattr.Draw(t, "name"), rapid.IntRange(0, 4).Draw(t, "flags")
			value := strings.Repeat("v", rapid.SampledFrom([]int{0, 1, 10, 65536, 65537}).Draw(t, "length"))
			m.both(t, fmt.Sprintf("set %s of %s to %d bytes, flags %d", name, p, len(value), flags), func(s side) syscall.Errno {
				return s.setXattr(p, name, value, flags)
			})
		},
		"remove xattr": func(t *rapid.T) {
			p, name := attrPath(t), xattr.Draw(t, "name")
			m.both(t, "remove "+name+" of "+p, func(s side) syscall.Errno { return s.removeXattr(p, name) })
		},
	}
}

// check compares the sides, and holds the tree against its own rules.
func (m *model) check(t *rapid.T) {
	ours, theirs := describe(m.ours), describe(m.theirs)
	if ours != theirs {
		t.Fatalf("the tree and tmpfs differ:\n%s", firstDifference(ours, theirs))
	}
	checkTree(t, m.ours.tree, m.ours.held[:]...)
}

func firstDifference(ours, theirs string) string {
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "tree:  " + a[i] + "\ntmpfs: " + b[i]
		}
	}
	return fmt.Sprintf("%d and %d lines", len(a), len(b))
}
