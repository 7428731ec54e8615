package fsupper

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
)

// sh runs a script in the overlay.
func (o *overlay) sh(script string) {
	o.tb.Helper()
	cmd := exec.Command("/bin/sh", "-euc", script)
	cmd.Dir = o.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		o.tb.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (o *overlay) path(name string) string { return filepath.Join(o.dir, name) }

func (o *overlay) exchange(a, b string) {
	o.tb.Helper()
	must(o.tb, unix.Renameat2(unix.AT_FDCWD, o.path(a), unix.AT_FDCWD, o.path(b), unix.RENAME_EXCHANGE))
}

// writeAt writes into an existing file, and preserves its mtime if keep is set.
func (o *overlay) writeAt(name, content string, off int64, keep bool) {
	o.tb.Helper()
	var st unix.Stat_t
	must(o.tb, unix.Stat(o.path(name), &st))
	f, err := os.OpenFile(o.path(name), os.O_RDWR, 0)
	must(o.tb, err)
	_, err = f.WriteAt([]byte(content), off)
	must(o.tb, errors.Join(err, f.Close()))
	if keep {
		must(o.tb, unix.UtimesNanoAt(unix.AT_FDCWD, o.path(name), []unix.Timespec{st.Atim, st.Mtim}, 0))
	}
}

func (o *overlay) truncate(name string, size int64) {
	o.tb.Helper()
	must(o.tb, os.Truncate(o.path(name), size))
}

var (
	tooLong  = strings.Repeat("n", 255)
	longPath = tooLong + "/" + strings.Repeat("m", 255)
)

// TestApply does something in an overlay over full, and compares what the overlay shows
// with what the tree holds afterwards, and after a commit.
func TestApply(t *testing.T) {
	packed := pack(t, full)
	type changes = fs.Changes
	for _, c := range []struct {
		name string
		do   func(o *overlay)
		want changes
	}{
		{"nothing", func(*overlay) {}, changes{}},
		{"chmod to the same", func(o *overlay) { o.sh("find . ! -type l -exec chmod u+r {} +") }, changes{}},
		{"chown to the same", func(o *overlay) { o.sh("chown -hR 1000:100 a d x/y") }, changes{}},
		{"open for writing", func(o *overlay) { o.sh("true <>f; true <>a/h2; true <>big; true <>x/sparse; true <>zero") }, changes{}},
		{"append nothing", func(o *overlay) { o.sh("true >>f") }, changes{}},
		{"rename there and back", func(o *overlay) { o.sh("mv f f2; mv f2 f; mv a z; mv z a; mv a/b d/b; mv d/b a/b; mv h1 h4; mv h4 h1") }, changes{}},
		{"a name made and removed", func(o *overlay) { o.sh("echo >new; rm new; mkdir a/new; rmdir a/new; ln f f2; rm f2") }, changes{}},
		{"the same bytes and mtime", func(o *overlay) { o.writeAt("f", "ff", 0, true); o.writeAt("big", noise(1, 5*mib+1000), 0, true) }, changes{}},
		{"xattrs set to the same", func(o *overlay) {
			must(o.tb, unix.Setxattr(o.path("f"), "user.one", []byte("1"), 0))
			must(o.tb, unix.Setxattr(o.path("a/f"), "user.one", []byte("1"), 0))
			must(o.tb, unix.Removexattr(o.path("a/f"), "user.one"))
		}, changes{}},

		{"a new file", func(o *overlay) { o.sh("printf 12345 >new") }, changes{Created: 1, Bytes: 5}},
		{"a new tree", func(o *overlay) {
			o.sh("mkdir -p a/n/m; printf 12345 >a/n/m/f; ln -s f a/n/m/l; mkfifo -m 640 a/n/p; mknod a/n/c c 1 3; mknod a/n/blk b 7 1; chmod 4711 a/n/m/f; chown 1:2 a/n a/n/m/f; chown -h 3:4 a/n/m/l")
		}, changes{Created: 7, Bytes: 5}},
		{"new hard links", func(o *overlay) { o.sh("echo x >n1; ln n1 a/n2; ln a/n2 d/n3; mkfifo p1; ln p1 p2") }, changes{Created: 2, Bytes: 2}},
		{"a new socket", func(o *overlay) {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			must(o.tb, err)
			defer unix.Close(fd)
			must(o.tb, unix.Bind(fd, &unix.SockaddrUnix{Name: o.path("sock")}))
		}, changes{}},
		{"new sparse files", func(o *overlay) {
			o.sh("truncate -s 1G hole; printf x >tail; truncate -s 3M tail; printf y >>tail; >kept; fallocate -n -l 1M kept")
		}, changes{Created: 3, Bytes: 1<<30 + 3<<20 + 1}},
		{"in a setgid directory", func(o *overlay) {
			o.sh("mkdir x/y/n; echo >x/y/n/f; echo >x/y/g; chgrp 5 x/y/g; mkdir x/y/o; chmod g-s x/y/o")
		}, changes{Created: 4, Bytes: 2}},
		{"long names", func(o *overlay) {
			must(o.tb, os.WriteFile(o.path(tooLong+"/"+strings.Repeat("w", 255)), []byte("1"), 0o600))
			must(o.tb, os.Chmod(o.path(longPath), 0o600))
		}, changes{Created: 1, Modified: 1, Bytes: 5}},

		{"written", func(o *overlay) { o.sh("echo more >>f") }, changes{Modified: 1, Bytes: 15}},
		{"written as it was, with another mtime", func(o *overlay) { o.writeAt("f", "ff", 0, false) }, changes{Modified: 1, Bytes: 10}},
		{"other bytes with the mtime of before", func(o *overlay) { o.writeAt("f", "gg", 0, true) }, changes{Modified: 1, Bytes: 10}},
		{"emptied", func(o *overlay) { o.sh(": >a/f; : >big") }, changes{Modified: 2}},
		{"a byte of a big file", func(o *overlay) { o.writeAt("big", "x", 2*mib+5, false) }, changes{Modified: 1, Bytes: 5*mib + 1000}},
		{"a big file cut", func(o *overlay) { o.truncate("big", 2*mib+77) }, changes{Modified: 1, Bytes: 2*mib + 77}},
		{"a big file longer by a hole", func(o *overlay) { o.truncate("big", 9*mib) }, changes{Modified: 1, Bytes: 9 * mib}},
		{"a sparse file written", func(o *overlay) { o.writeAt("x/sparse", "y", 5*mib, false) }, changes{Modified: 1, Bytes: 9*mib + 4}},
		{"a sparse file longer", func(o *overlay) { o.truncate("x/sparse", 1<<32) }, changes{Modified: 1, Bytes: 1 << 32}},
		{"modes, owners and times", func(o *overlay) {
			o.sh("chmod 600 f; chmod 700 a/b; chown 5:6 d/f; chown -h 7:8 a/link; touch -d @1000.5 x/f; touch -h -d @5 broken; chmod 711 .")
		}, changes{Modified: 7, Bytes: 10 + 1530 + 2130}},
		{"time of a directory", func(o *overlay) { o.sh("touch -d @1000 a") }, changes{}},
		{"xattrs", func(o *overlay) {
			must(o.tb, unix.Setxattr(o.path("f"), "user.one", []byte("other"), 0))
			must(o.tb, unix.Removexattr(o.path("f"), "user.two"))
			must(o.tb, unix.Setxattr(o.path("a/b"), "user.more", []byte(strings.Repeat("v", 1<<15)), 0))
			must(o.tb, unix.Setxattr(o.path("a/f"), "trusted.overlay.mine", []byte("escaped"), 0))
			must(o.tb, unix.Lsetxattr(o.path("broken"), "trusted.x", []byte("of a link"), 0))
			must(o.tb, unix.Removexattr(o.dir, "user.root"))
		}, changes{Modified: 5, Bytes: 10 + 330}},
		{"an ACL", func(o *overlay) { setACL(o.tb, o.path("f")) }, changes{Modified: 1, Bytes: 10}},

		{"removed", func(o *overlay) { o.sh("rm f; rm -r a; rmdir empty; rm d/e/h3") }, changes{Removed: 11, Modified: 1, Bytes: 10}},
		{"all removed", func(o *overlay) { o.sh("rm -r *") }, changes{Removed: 31}},
		{"replaced", func(o *overlay) {
			o.sh("echo >new; mv new f; rm d/f; mkdir d/f; rm -r x; echo >x; rm -r a; mkdir a; echo >a/f")
		}, changes{Created: 5, Modified: 1, Removed: 18, Bytes: 13}},
		{"a directory emptied and made again", func(o *overlay) { o.sh("rm -r gone; mkdir gone; echo >gone/f") }, changes{Created: 2, Removed: 2, Bytes: 1}},

		{"a file renamed", func(o *overlay) { o.sh("mv f g") }, changes{Modified: 1, Bytes: 10}},
		{"a file moved and written", func(o *overlay) { o.sh("mv big a/big; printf x >>a/big") }, changes{Modified: 1, Bytes: 5*mib + 1001}},
		{"files swapped", func(o *overlay) { o.exchange("f", "a/f") }, changes{Modified: 2, Bytes: 10 + 330}},
		{"a directory renamed", func(o *overlay) { o.sh("mv a z") }, changes{Modified: 1}},
		{"a directory renamed, and changed within", func(o *overlay) { o.sh("mv a z; echo x >>z/f; rm z/g; mv z/b/f z/f2") }, changes{Modified: 3, Removed: 1, Bytes: 332 + 1550}},
		{"into a renamed directory", func(o *overlay) { o.sh("mv a z; mv d z/d; mv z/d/e x/e") }, changes{Modified: 3}},
		{"out of a renamed directory, which is removed", func(o *overlay) { o.sh("mv a z; mv z/b b; mv z/f f2; rm -r z") }, changes{Modified: 3, Removed: 4, Bytes: 340}},
		{"out of a removed directory", func(o *overlay) { o.sh("mv a/b/c c; mv a/h2 h2; rm -r a") }, changes{Modified: 2, Removed: 7, Bytes: 10}},
		{"directories swapped", func(o *overlay) { o.exchange("a", "d") }, changes{Modified: 2}},
		{"a directory swapped with what was in it", func(o *overlay) { o.sh("mv a/b t; mv a t/a; mv t a") }, changes{Modified: 2}},
		{"a directory and a file swapped", func(o *overlay) { o.exchange("a", "f") }, changes{Modified: 2, Bytes: 10}},
		{"three in a circle", func(o *overlay) { o.sh("mv a t; mv d a; mv x d; mv t x") }, changes{Modified: 3}},
		{"files in a circle", func(o *overlay) { o.sh("mv f t; mv a/f f; mv a/b/f a/f; mv t a/b/f") }, changes{Modified: 3, Bytes: 10 + 330 + 1550}},
		{"a chain", func(o *overlay) { o.sh("mv gone g2; mv a gone; mv d a") }, changes{Modified: 3}},
		{"replaced by a file and back", func(o *overlay) { o.sh("mv a z; echo >a; rm a; mv z a") }, changes{}},
		{"moved, and a new one in its place", func(o *overlay) { o.sh("mv a z; mkdir a; echo >a/f; mkdir a/b; mv z/b/c a/b/c") }, changes{Created: 3, Modified: 2, Bytes: 1}},
		{"over a removed one", func(o *overlay) { o.sh("rm -r d; mv a d") }, changes{Modified: 2, Removed: 5, Bytes: 10}},
		{"over an empty one", func(o *overlay) { must(o.tb, unix.Rename(o.path("a"), o.path("empty"))) }, changes{Modified: 1, Removed: 1}},
		{"deep into each other", func(o *overlay) { o.sh("mv a/b/c x/y/c; mv x/y a/b/y; mv a/b d/e/b; mv d z; mv z/e e") }, changes{Modified: 5}},

		{"a name of a hard link written", func(o *overlay) { o.sh("echo more >>a/h2") }, changes{Modified: 1, Bytes: 15}},
		{"chmod by a name of a hard link", func(o *overlay) { o.sh("chmod 600 d/e/h3") }, changes{Modified: 1, Bytes: 10}},
		{"a hard link written, and its name removed", func(o *overlay) { o.sh("echo more >>a/h2; rm a/h2") }, changes{Modified: 1, Bytes: 15}},
		{"a hard link renamed", func(o *overlay) { o.sh("mv a/h2 h9; rm h1") }, changes{Modified: 1, Bytes: 10}},
		{"all names of a hard link moved", func(o *overlay) { o.sh("mv h1 x/1; mv a/h2 x/2; mv d/e/h3 x/3; echo >>x/2") }, changes{Modified: 1, Bytes: 11}},
		{"names of hard links swapped", func(o *overlay) { o.exchange("a/h2", "a/pair") }, changes{Modified: 2, Bytes: 10 + 6}},
		{"a further name", func(o *overlay) { o.sh("ln f f2; ln h1 h9; ln a/link l2") }, changes{Modified: 3, Bytes: 20}},
		{"a further name, and the first removed", func(o *overlay) { o.sh("ln f f2; rm f; ln a/pair x/pair; rm a/pair; rm a/pair2") }, changes{Modified: 2, Bytes: 16}},
		{"all names removed", func(o *overlay) { o.sh("echo >>h1; rm h1 a/h2; rm d/e/h3") }, changes{Removed: 1}},
		{"a hard link replaced", func(o *overlay) { o.sh("echo >new; mv new h1") }, changes{Created: 1, Modified: 1, Bytes: 11}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOverlay(t, packed)
			c.do(o)
			want := shown(t, o.dir)
			got := o.apply()
			if got != c.want {
				t.Errorf("changes = %+v, want %+v", got, c.want)
			}
			wantSame(t, "the tree", held(t, o.tree), want)
			o.checkStates(got)
			o.checkCommit()
		})
	}
}

// everything does something of each kind in an overlay over full.
func (o *overlay) everything() {
	o.tb.Helper()
	o.sh("mv a z; mkdir a; mv z/b a/b; echo more >>f; mv f a/f; rm -r gone; echo >gone; echo x >>d/e/h3; rm h1; ln z/g g2; chmod 600 x/*; mkdir -p n/m; echo >n/m/f")
	o.exchange("d", "x")
	o.writeAt("big", "x", 3*mib+5, false)
	o.truncate("x/big", mib+1)
}

// The tree of an archive without an index does not stand on an image.
func TestApplyToFilledTree(t *testing.T) {
	o := newOverlay(t, packAs(t, nil, &archive.WriterOptions{Plain: true}, full))
	if o.tree.Image() != nil {
		t.Fatal("the tree stands on an image")
	}
	o.everything()
	want := shown(t, o.dir)
	o.apply()
	wantSame(t, "the tree", held(t, o.tree), want)
	o.checkCommit()
}

// An upper on a disk is adopted on that disk.
func TestApplyFromDisk(t *testing.T) {
	memory, err := fs.NewArenaHome(mib)
	must(t, err)
	dir := t.TempDir()
	home, err := fs.NewSpillHome(memory, dir, -1)
	must(t, err)
	t.Cleanup(func() { must(t, memory.Close()) })
	o := newOverlayIn(t, pack(t, full), home)
	o.everything()
	o.sh("truncate -s 100M n/hole; head -c 9000000 /dev/urandom >n/random")
	want := shown(t, o.dir)
	o.apply()
	wantSame(t, "the tree", held(t, o.tree), want)
	if _, free, err := memory.StatFS(); free != mib || err != nil {
		t.Errorf("%d bytes of memory are free, %v", free, err)
	}
	o.checkCommit()
}

// A commit copies what is unchanged even if upper holds the whole file, and files that
// moved with their directory.
func TestCommitKeepsWhatIsTheSame(t *testing.T) {
	packed := pack(t, full)
	const chunk = mib + mib/100
	for _, c := range []struct {
		name string
		do   func(o *overlay)
		most int64 // new bytes of content
	}{
		{"a byte of a big file", func(o *overlay) { o.writeAt("big", "x", 3*mib, false) }, chunk},
		{"a big file written as it was", func(o *overlay) { o.writeAt("big", noise(1, 5*mib), 0, false) }, 0},
		{"a big file cut within a chunk", func(o *overlay) { o.truncate("big", 2*mib+5) }, 100},
		{"a directory with a big file moved", func(o *overlay) { o.sh("mv d x/d; chmod 700 x/d/big") }, 0},
		{"a big file moved and appended to", func(o *overlay) { o.sh("mv d/big big2; echo >>big2") }, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOverlay(t, packed)
			c.do(o)
			o.apply()
			next, plan := o.commit()
			if fresh := int64(len(next)) - plan.Kept; fresh > c.most+20_000 {
				t.Errorf("%d bytes are new, of %d", fresh, len(next))
			}
		})
	}
}

// Holes of upper do not count against the tree's memory, nor does what stays base.
func TestMemoryIsCountedOnce(t *testing.T) {
	o := newOverlay(t, pack(t, full))
	o.sh("truncate -s 1G hole; printf x >one; head -c 10000 /dev/zero >zeros")
	o.writeAt("big", "x", 3*mib, false)
	o.writeAt("x/sparse", "y", 5*mib, false)
	o.apply()
	// one: a page; zeros: three; big: a chunk; of sparse: what holds the chunk.
	if used, _ := o.tree.Usage(); used != 4096+3*4096+mib+4096 {
		t.Errorf("%d bytes are counted", used)
	}
	total, free, err := o.home.StatFS()
	must(t, err)
	if left := total - free; left > 2*mib {
		t.Errorf("%d bytes are taken", left)
	}
}

// A file with a thousand names, one of which is written, one moved and one removed.
func TestManyNames(t *testing.T) {
	o := newOverlay(t, pack(t, func(m maker) {
		m.dir("d")
		m.file("d/f", "content")
		for i := range 999 {
			m.link(fmt.Sprintf("d/f%03d", i), "d/f")
		}
	}))
	o.sh("echo >>d/f500; mv d/f501 moved; rm d/f502")
	want := shown(t, o.dir)
	if got := o.apply(); got != (fs.Changes{Modified: 1, Bytes: 8}) {
		t.Errorf("changes = %+v", got)
	}
	wantSame(t, "the tree", held(t, o.tree), want)
	o.checkCommit()
}

// Count is called while tools work: it returns a result whatever it sees.
func TestCountWhileToolsWork(t *testing.T) {
	o := newOverlay(t, pack(t, small))
	done := make(chan struct{})
	go func() {
		defer close(done)
		d := &doer{o: o, r: rand.New(rand.NewPCG(1, 2))}
		for range 300 {
			d.step()
		}
	}()
	for working := true; working; {
		select {
		case <-done:
			working = false
		default:
			o.count()
		}
	}
	want := shown(t, o.dir)
	o.apply()
	wantSame(t, "the tree", held(t, o.tree), want)
}

// checkStates compares what a commit asks of the tree with its changes.
func (o *overlay) checkStates(c fs.Changes) {
	o.tb.Helper()
	if c.Total() > 0 {
		return
	}
	for row, state := range o.tree.RowStates() {
		if state != 0 && o.tree.Image().Attr(uint32(row)).Mode&unix.S_IFMT != unix.S_IFDIR {
			o.tb.Errorf("row %d, %s, has state %b, but nothing was changed", row, o.tree.Image().Name(uint32(row)), state)
		}
	}
}
