package integration

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	workdirfs "github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
)

// After commits on top of each other, of which each takes over the compressed bytes of
// what it did not change, all programs still read the tree, from a file and from a pipe,
// and have nothing to say.
func TestOtherProgramsReadSuccessors(t *testing.T) {
	needRoot(t)
	for _, u := range unpackers {
		t.Run(u.name, func(t *testing.T) {
			e := newEnv(t)
			src := memoryDir(t)
			buildSample(t, src, u.skip)
			packOurs(e, src, e.archive("ours"))
			c := &committer{t: t, path: e.archive("ours"), r: rand.New(rand.NewPCG(1, 2))}
			for commit := 1; commit <= 40; commit++ {
				truth := ""
				if commit == 1 || commit == 5 || commit == 40 {
					truth = memoryDir(t)
				}
				c.commit(truth)
				if truth != "" {
					unpacksTo(t, e, &u, truth)
				}
			}
			c.isLittleLarger()
		})
	}
}

// unpacksTo checks that a program unpacks our archive to the content of the directory want.
func unpacksTo(t *testing.T, e *env, u *unpacker, want string) {
	t.Helper()
	out := memoryDir(t)
	cmd := u.command(e, e.archive("ours"))
	cmd.Dir = out
	stdout, stderr, code := run(t, cmd)
	if code != 0 || !u.talks && stdout+stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	all, got := snapshotOf(t, want), snapshotOf(t, out)
	delete(all, ".") // the root is in the log, for us alone
	delete(got, ".")
	mustEqual(t, "as unpacked", kept(all, u.keeps), kept(got, u.keeps))
}

// committer commits random changes to an archive, each on top of the last one.
type committer struct {
	t    *testing.T
	path string
	r    *rand.Rand
	made int
	tree *workdirfs.Tree
}

func (c *committer) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// errno is check for the tree's errors.
func (c *committer) errno(errno syscall.Errno) {
	c.t.Helper()
	if errno != 0 {
		c.t.Fatal(errno)
	}
}

// opened calls fn with the archive, and a tree that stands on it.
func (c *committer) opened(fn func(f *os.File, a *archive.Archive, tree *workdirfs.Tree)) {
	c.t.Helper()
	f, err := os.Open(c.path)
	c.check(err)
	defer f.Close()
	info, err := f.Stat()
	c.check(err)
	a, err := archive.Open(c.t.Context(), f, info.Size(), nil)
	c.check(err)
	src := a.Source(archive.NewCache(8<<20), nil)
	defer src.Close()
	img, err := a.Image(src, nil)
	c.check(err)
	home, err := workdirfs.NewArenaHome(256 << 20)
	c.check(err)
	defer home.Close()
	tree, err := workdirfs.NewOn(img, home, nil)
	c.check(err)
	defer tree.Close()
	fn(f, a, tree)
}

// commit changes something, and makes the archive its own successor. The tree goes into
// the directory truth too, unless that is "".
func (c *committer) commit(truth string) {
	c.t.Helper()
	c.opened(func(f *os.File, a *archive.Archive, tree *workdirfs.Tree) {
		c.tree = tree
		for range 1 + c.r.IntN(4) {
			c.change()
		}
		tree.Freeze()
		log := a.Log().Next(archive.Record{ID: archive.NewCommitID(), Time: time.Now(), Tool: "test"})
		plan, err := archive.NewWriter(nil, nil).Plan(c.t.Context(), tree, a, log)
		c.check(err)
		c.store(plan, f)
		if truth != "" {
			d, err := fsdir.OpenDir(truth)
			c.check(err)
			defer d.Close()
			_, err = d.Unpack(c.t.Context(), tree, &fsdir.UnpackOptions{KeepOwner: true, Suid: true})
			c.check(err)
		}
	})
}

// store writes the bytes of a plan.
func (c *committer) store(plan *archive.Plan, base io.ReaderAt) {
	c.t.Helper()
	out, err := os.Create(c.path + ".new")
	c.check(err)
	for _, p := range plan.Pieces {
		if p.Write != nil {
			c.check(p.Write(out))
			continue
		}
		_, err := io.Copy(out, io.NewSectionReader(base, p.Off, p.Len))
		c.check(err)
	}
	c.check(errors.Join(out.Close(), os.Rename(c.path+".new", c.path)))
}

// pick returns a path of a kind, and the inode of its directory. Names that are trouble
// to a program are not touched.
func (c *committer) pick(format uint32) string {
	c.t.Helper()
	var all []string
	c.check(c.tree.Walk(func(path string, _ *workdirfs.Inode, a workdirfs.Attr) error {
		if path != "" && a.Mode&syscall.S_IFMT == format && !strings.HasPrefix(path, "times/") && !strings.HasPrefix(path, "names/") {
			all = append(all, path)
		}
		return nil
	}))
	if len(all) == 0 {
		c.t.Fatal("nothing is left")
	}
	return all[c.r.IntN(len(all))]
}

// at returns the inode of a path, with a reference that the end of the tree takes back.
func (c *committer) at(path string) *workdirfs.Inode {
	c.t.Helper()
	n, errno := c.tree.LookupPath(c.tree.Root(), path)
	c.errno(errno)
	return n
}

// place returns the directory of a path, and its last name.
func (c *committer) place(path string) (*workdirfs.Inode, string) {
	c.t.Helper()
	dir, name := workdirfs.Split(path)
	return c.at(dir), name
}

// fresh returns a name that is not there.
func (c *committer) fresh() string {
	c.made++
	return fmt.Sprintf("%s/%c%d", c.pick(syscall.S_IFDIR), 'a'+c.r.IntN(26), c.made)
}

// change makes one random change.
func (c *committer) change() {
	c.t.Helper()
	file := c.pick(syscall.S_IFREG)
	switch c.r.IntN(9) {
	case 0, 1, 2:
		dir, name := c.place(c.fresh())
		n, errno := c.tree.Mknod(dir, name, syscall.S_IFREG|0o644, 0, workdirfs.Owner{})
		c.errno(errno)
		c.write(n, 0, c.r.IntN(3)*c.r.IntN(400_000))
	case 3:
		c.write(c.at(file), c.tree.Attr(c.at(file)).Size, 200)
	case 4:
		c.write(c.at("big"), c.r.Int64N(5<<20), 5000)
	case 5:
		dir, name := c.place(file)
		if file != "big" {
			c.errno(c.tree.Unlink(dir, name))
		}
	case 6:
		from, old := c.place(file)
		dir, name := c.place(c.fresh())
		if file != "big" {
			c.errno(c.tree.Rename(from, old, dir, name, 0))
		}
	case 7:
		dir, name := c.place(c.fresh())
		c.errno(c.tree.Link(dir, name, c.at(file)))
	case 8:
		dir, name := c.place(c.fresh())
		_, errno := c.tree.Mkdir(dir, name, 0o755, workdirfs.Owner{})
		c.errno(errno)
	}
}

func (c *committer) write(n *workdirfs.Inode, off int64, size int) {
	c.t.Helper()
	if size == 0 {
		return
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = "the quick brown fox\n"[c.r.IntN(20)]
	}
	_, errno := c.tree.WriteAt(n, b, off, false)
	c.errno(errno)
}

// isLittleLarger checks that the archive is at most 1 % larger than one of the same tree
// that is packed afresh.
func (c *committer) isLittleLarger() {
	c.t.Helper()
	c.opened(func(f *os.File, a *archive.Archive, tree *workdirfs.Tree) {
		s, err := archive.NewWriter(io.Discard, nil).WriteTree(c.t.Context(), tree, a.Log())
		c.check(err)
		info, err := f.Stat()
		c.check(err)
		if info.Size() > s.Size+s.Size/100 {
			c.t.Errorf("it has %d bytes, packed afresh %d", info.Size(), s.Size)
		}
	})
}
