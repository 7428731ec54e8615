package fs

import (
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTimesChangeAsOnTmpfs does one thing at a time and compares which times of which
// inodes change. Before each, the kernel's clock advances.
func TestTimesChangeAsOnTmpfs(t *testing.T) {
	tree := newTree(t, nil)
	sides := map[string]side{"tree": &treeSide{tree: tree}, "tmpfs": newKernelSide(t)}
	defer sides["tmpfs"].(*kernelSide).close()
	for _, step := range timeSteps {
		changed := map[string]string{}
		for name, s := range sides {
			before := timesOf(s)
			waitForTick()
			if errno := step.do(s); errno != 0 {
				t.Fatalf("%s on %s: %v", step.name, name, errno)
			}
			changed[name] = whatChanged(before, timesOf(s))
		}
		if changed["tree"] != changed["tmpfs"] {
			t.Errorf("%s changes in the tree:%s\nand on tmpfs:%s", step.name, changed["tree"], changed["tmpfs"])
		}
	}
}

var timeSteps = []struct {
	name string
	do   func(s side) syscall.Errno
}{
	{"mkdir", func(s side) syscall.Errno { return s.mkdir("d", 0o755) }},
	{"mkdir below", func(s side) syscall.Errno { return s.mkdir("d/sub", 0o755) }},
	{"create", func(s side) syscall.Errno { return s.mknod("d/f", syscall.S_IFREG|0o644) }},
	{"truncate nothing to nothing", func(s side) syscall.Errno { return s.truncate("d/f", 0) }},
	{"create another", func(s side) syscall.Errno { return s.mknod("g", syscall.S_IFREG|0o644) }},
	{"symlink", func(s side) syscall.Errno { return s.symlink("l", "target") }},
	{"link", func(s side) syscall.Errno { return s.link("d/f", "h") }},
	{"write", func(s side) syscall.Errno { return s.write("d/f", []byte("content"), 0) }},
	{"write nothing", func(s side) syscall.Errno { return s.write("d/f", nil, 0) }},
	{"truncate to the same size", func(s side) syscall.Errno { return s.truncate("d/f", 7) }},
	{"truncate", func(s side) syscall.Errno { return s.truncate("d/f", 10000) }},
	{"allocate", func(s side) syscall.Errno { return s.allocate("d/f", 0, 20000, 0) }},
	{"punch", func(s side) syscall.Errno {
		return s.allocate("d/f", 0, 20000, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
	}},
	{"chmod", func(s side) syscall.Errno { return s.chmod("d/f", 0o600) }},
	{"chown", func(s side) syscall.Errno { return s.chown("d", 1, 1) }},
	{"utimes", func(s side) syscall.Errno { return s.setMtime("d", longAgo) }},
	{"setxattr", func(s side) syscall.Errno { return s.setXattr("d/f", "user.a", "v", 0) }},
	{"setxattr to the same", func(s side) syscall.Errno { return s.setXattr("d/f", "user.a", "v", 0) }},
	{"removexattr", func(s side) syscall.Errno { return s.removeXattr("d/f", "user.a") }},
	{"rename in a directory", func(s side) syscall.Errno { return s.rename("g", "i", 0) }},
	{"rename to another", func(s side) syscall.Errno { return s.rename("i", "d/i", 0) }},
	{"rename onto a file", func(s side) syscall.Errno { return s.rename("d/i", "h", 0) }},
	{"rename a directory", func(s side) syscall.Errno { return s.rename("d/sub", "sub", 0) }},
	{"exchange", func(s side) syscall.Errno { return s.rename("sub", "d/f", RenameExchange) }},
	{"rename onto itself", func(s side) syscall.Errno { return s.rename("h", "h", 0) }},
	{"unlink", func(s side) syscall.Errno { return s.unlink("h") }},
	{"rmdir", func(s side) syscall.Errno { return s.rmdir("d/f") }},
}

var timePaths = []string{"", "d", "d/sub", "d/f", "d/i", "g", "h", "i", "l", "sub"}

func timesOf(s side) map[string]Attr {
	times := map[string]Attr{}
	for _, path := range timePaths {
		if a, errno := s.stat(path); errno == 0 {
			times[path] = a
		}
	}
	return times
}

func whatChanged(before, after map[string]Attr) string {
	var b strings.Builder
	for _, path := range timePaths {
		old, was := before[path]
		a, is := after[path]
		fmt.Fprintf(&b, " %q %t %t %t", path, is, is && was && a.Mtime != old.Mtime, is && was && a.Ctime != old.Ctime)
	}
	return b.String()
}

// waitForTick waits until the kernel's clock for files is another.
func waitForTick() {
	for before := Now(); Now() == before; {
	}
}

func TestTimesAreKeptExactly(t *testing.T) {
	tree := newTree(t, nil)
	f := file(t, tree, tree.Root(), "f", "")
	for _, at := range []Time{
		{0, 0}, {0, 1}, {-1, 999_999_999}, {1, 999_999_999}, {1 << 33, 5}, {-1 << 40, 7}, {math.MaxInt64, 1}, {math.MinInt64, 2},
	} {
		a, errno := tree.SetAttr(f, &SetAttr{Valid: SetAtime | SetMtime, Atime: at, Mtime: Time{at.Sec, 3}})
		ok(t, errno)
		if a.Atime != at || a.Mtime != (Time{at.Sec, 3}) {
			t.Errorf("%v was kept as %v and %v", at, a.Atime, a.Mtime)
		}
	}
	for at, kept := range map[Time]Time{
		{-1, 999_999_999}:        {-1, 999_999_999},
		{-5, 0}:                  {-5, 0},
		{1_700_000_000, 123}:     {1_700_000_000, 123},
		{math.MaxInt64, 5}:       {9_223_372_035, 5},
		{math.MinInt64, 7}:       {-9_223_372_035, 7},
		{9_223_372_035, 999_999}: {9_223_372_035, 999_999},
	} {
		if a, errno := tree.SetAttr(f, &SetAttr{Valid: SetCtime, Ctime: at}); errno != 0 || a.Ctime != kept {
			t.Errorf("change time %v was kept as %v", at, a.Ctime)
		}
	}
}

func TestNewInodeHasOneTime(t *testing.T) {
	tree := newTree(t, nil)
	before := Now()
	a := tree.Attr(file(t, tree, tree.Root(), "f", ""))
	if a.Atime != a.Mtime || a.Mtime != a.Ctime || a.Ctime != a.Btime || a.Btime.Sec < before.Sec {
		t.Errorf("%+v", a)
	}
	waitForTick()
	f, errno := tree.Lookup(tree.Root(), "f")
	ok(t, errno)
	read(t, tree, f)
	write(t, tree, f, "x", 0)
	if b := tree.Attr(f); b.Atime != a.Atime || b.Btime != a.Btime || b.Mtime == a.Mtime {
		t.Errorf("after a read and a write: %+v", b)
	}
}

// A kernel that caches writes keeps the times of files, and sends them by SetAttr.
func TestLeaveTimes(t *testing.T) {
	tree := newTree(t, nil)
	root := tree.Root()
	f, g := file(t, tree, root, "f", "content"), file(t, tree, root, "g", "more content")
	tree.LeaveTimes()
	for _, change := range []struct {
		name string
		do   func() syscall.Errno
	}{
		{"write", func() syscall.Errno { _, errno := tree.WriteAt(f, []byte("x"), 3, true); return errno }},
		{"truncate", func() syscall.Errno { return setAttr(tree, f, SetAttr{Valid: SetSize, Size: 3}) }},
		{"allocate", func() syscall.Errno { return tree.Allocate(f, 0, 10000, 0) }},
		{"copy", func() syscall.Errno { _, errno := tree.CopyRange(g, 0, f, 0, 5); return errno }},
		{"chmod", func() syscall.Errno { return setAttr(tree, f, SetAttr{Valid: SetMode, Mode: 0o600}) }},
		{"kill privileges", func() syscall.Errno { return setAttr(tree, f, SetAttr{Valid: SetKillPriv}) }},
	} {
		before := tree.Attr(f)
		waitForTick()
		ok(t, change.do())
		if after := tree.Attr(f); after.Mtime != before.Mtime || after.Ctime != before.Ctime {
			t.Errorf("%s changes the times", change.name)
		}
	}
	sent := SetAttr{Valid: SetMtime | SetCtime, Mtime: Time{Sec: 5}, Ctime: Time{Sec: 6}}
	ok(t, setAttr(tree, f, sent))
	if a := tree.Attr(f); a.Mtime != sent.Mtime || a.Ctime != sent.Ctime {
		t.Errorf("times that were sent: mtime %v, ctime %v", a.Mtime, a.Ctime)
	}
	before := tree.Attr(root)
	waitForTick()
	ok(t, setAttr(tree, root, SetAttr{Valid: SetMode, Mode: 0o700}))
	if tree.Attr(root).Ctime == before.Ctime {
		t.Error("the ctime of a directory stays")
	}
}

func setAttr(tree *Tree, n *Inode, s SetAttr) syscall.Errno {
	_, errno := tree.SetAttr(n, &s)
	return errno
}
