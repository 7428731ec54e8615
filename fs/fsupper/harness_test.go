package fsupper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fusefs"
)

// The process that runs the tests never serves a mount that it uses: each lower has a
// child, which is this test binary again with the path of an archive in childEnv.
const childEnv = "FSUPPER_TEST_ARCHIVE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := serve(path); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve serves an archive, read-only, by the /dev/fuse that is descriptor 3, until the
// connection ends.
func serve(path string) error {
	packed, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	tree, _, err := standOn(packed, nil)
	if err != nil {
		return err
	}
	conn, err := fusefs.Serve(3, tree, &fusefs.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	return conn.Wait()
}

// standOn makes a tree of an archive, sealed: on its image, if it has an index. A nil home
// is an arena's.
func standOn(packed []byte, home fs.Home) (*fs.Tree, *archive.Archive, error) {
	if home == nil {
		var err error
		if home, err = fs.NewArenaHome(1 << 30); err != nil {
			return nil, nil, err
		}
	}
	opts := &archive.ReaderOptions{Devices: true}
	a, err := archive.Open(context.Background(), bytes.NewReader(packed), int64(len(packed)), nil)
	if err != nil {
		return nil, nil, err
	}
	if !a.Indexed() {
		t, err := fs.New(home, nil)
		if err != nil {
			return nil, nil, err
		}
		_, err = archive.NewReader(bytes.NewReader(packed), opts).Load(context.Background(), t)
		t.Seal()
		return t, a, err
	}
	img, err := a.Image(a.Source(archive.NewCache(64<<20), nil), opts)
	if err != nil {
		return nil, nil, err
	}
	t, err := fs.NewOn(img, home, nil)
	return t, a, err
}

// overlay is an overlay over a lower that a child serves, and the tree that stands on the
// same archive.
type overlay struct {
	tb      testing.TB
	dir     string // where the overlay is mounted
	packed  []byte
	archive *archive.Archive
	tree    *fs.Tree
	home    fs.Home
	backing *fs.BackingDir
	upper   int
	index   int
	child   *exec.Cmd
	mounted []string
}

// newOverlay mounts an overlay over an archive.
func newOverlay(tb testing.TB, packed []byte) *overlay {
	tb.Helper()
	home, err := fs.NewTmpfsHome(4<<30, 0)
	must(tb, err)
	return newOverlayIn(tb, packed, home)
}

// newOverlayIn is newOverlay with upper in the file system of a home.
func newOverlayIn(tb testing.TB, packed []byte, home fs.Home) *overlay {
	tb.Helper()
	o := &overlay{tb: tb, packed: packed, home: home}
	var err error
	o.tree, o.archive, err = standOn(packed, home)
	must(tb, err)
	o.backing, err = fs.NewBackingDir(home)
	must(tb, err)
	at, err := os.MkdirTemp("", "fsupper") // not TempDir: the name of a test may have a comma
	must(tb, err)
	tb.Cleanup(func() { must(tb, os.RemoveAll(at)) })
	tb.Cleanup(o.close)
	lower, empty := filepath.Join(at, "lower"), filepath.Join(at, "empty")
	o.dir = filepath.Join(at, "m")
	for _, dir := range []string{lower, empty, o.dir} {
		must(tb, os.Mkdir(dir, 0o755))
	}
	// A layer of a file system of its own, with a UUID, makes the bit of xino 2^62.
	must(tb, unix.Mount("empty", empty, "tmpfs", 0, ""))
	o.mounted = append(o.mounted, empty)
	o.mountLower(at, lower)
	for _, name := range []string{"upper", "work"} {
		must(tb, unix.Mkdirat(o.backing.FD(), name, 0o755))
	}
	o.upper = openAt(tb, o.backing.FD(), "upper")
	o.dressRoot()
	in := fmt.Sprintf("/proc/self/fd/%d/", o.backing.FD())
	options := fmt.Sprintf("lowerdir=%s:%s,upperdir=%supper,workdir=%swork,index=on,redirect_dir=on,xino=on,metacopy=on", lower, empty, in, in)
	must(tb, unix.Mount("workdir", o.dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options))
	o.mounted = append(o.mounted, o.dir)
	o.index = openAt(tb, o.backing.FD(), "work/index")
	return o
}

// dressRoot makes upper's root look like the tree's.
func (o *overlay) dressRoot() {
	root := o.tree.Root()
	a := o.tree.Attr(root)
	names, errno := o.tree.ListXattr(root)
	must(o.tb, orNil(errno))
	for _, name := range names {
		value, errno := o.tree.GetXattr(root, name)
		must(o.tb, orNil(errno))
		must(o.tb, unix.Fsetxattr(o.upper, name, value, 0))
	}
	must(o.tb, unix.Fchown(o.upper, int(a.UID), int(a.GID)))
	must(o.tb, unix.Fchmod(o.upper, a.Mode&fs.PermBits))
	at := unix.Timespec{Sec: a.Mtime.Sec, Nsec: int64(a.Mtime.Nsec)}
	must(o.tb, unix.UtimesNanoAt(o.backing.FD(), "upper", []unix.Timespec{at, at}, 0))
}

func (o *overlay) mountLower(at, dir string) {
	o.tb.Helper()
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		o.tb.Fatalf("these tests need root and /dev/fuse: %v", err)
	}
	defer dev.Close() // the child has its own; the connection must end with it
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", dev.Fd())
	must(o.tb, unix.Mount("workdir", dir, "fuse.workdir", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_RDONLY, data))
	o.mounted = append(o.mounted, dir)
	file := filepath.Join(at, "archive")
	must(o.tb, os.WriteFile(file, o.packed, 0o600))
	o.child = exec.Command("/proc/self/exe")
	o.child.Env = append(os.Environ(), childEnv+"="+file)
	o.child.ExtraFiles = []*os.File{dev}
	o.child.Stderr = os.Stderr
	must(o.tb, o.child.Start())
	// An overlay that is made before the lower has answered INIT finds that it has no
	// file handles, and goes on without an index.
	var st unix.Statfs_t
	must(o.tb, unix.Statfs(dir, &st))
}

// unmount unmounts overlay and lower, and waits for the end of the connection.
func (o *overlay) unmount() {
	o.tb.Helper()
	slices.Reverse(o.mounted)
	for _, dir := range o.mounted {
		if err := unix.Unmount(dir, 0); err != nil {
			o.tb.Errorf("unmount %s: %v", dir, err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	}
	o.mounted = nil
	if o.child != nil {
		if err := o.child.Wait(); err != nil {
			o.tb.Errorf("child: %v", err)
		}
		o.child = nil
	}
}

// close ends all that is left.
func (o *overlay) close() {
	o.unmount()
	for _, fd := range []int{o.upper, o.index} {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
	if err := errors.Join(o.tree.Close(), o.backing.Close(), o.home.Close()); err != nil {
		o.tb.Error(err)
	}
}

// apply unmounts the overlay and takes over what was done in it. What Count says before,
// and what it says when nothing is mounted any more, is what the tree says afterwards; and a
// copy that was made before has the same.
func (o *overlay) apply() fs.Changes {
	o.tb.Helper()
	before, listed := o.count(), o.list()
	o.unmount()
	counted := o.count()
	if again := o.list(); !slices.Equal(again, listed) {
		o.tb.Errorf("listed %v, and %v before the end", again, listed)
	}
	copied := o.copy()
	defer func() { must(o.tb, copied.Close()) }()
	must(o.tb, Apply(o.tb.Context(), o.tree, o.upper, o.index, o.options()))
	changes := o.tree.Changes()
	if counted != changes || before != changes {
		o.tb.Errorf("counted %+v, and %+v before the end, but changes are %+v", counted, before, changes)
	}
	if all, errno := o.tree.ListChanges(); errno != 0 || !slices.Equal(all, listed) {
		o.tb.Errorf("listed\n%v, but the tree lists\n%v, %v", listed, all, errno)
	}
	if got := copied.Changes(); got != changes {
		o.tb.Errorf("changes of a copy are %+v, but %+v of the tree", got, changes)
	}
	wantSame(o.tb, "a copy", held(o.tb, copied), held(o.tb, o.tree))
	return changes
}

// copy is a tree of its own that has what the overlay shows.
func (o *overlay) copy() *fs.Tree {
	o.tb.Helper()
	t, _, err := standOn(o.packed, o.home)
	must(o.tb, err)
	must(o.tb, Copy(o.tb.Context(), t, o.upper, o.index, nil))
	return t
}

func (o *overlay) options() *Options {
	return &Options{Backing: o.backing, Warn: func(path, text string) { o.tb.Logf("warning: %q: %s", path, text) }}
}

func (o *overlay) count() fs.Changes {
	o.tb.Helper()
	c, err := Count(o.tb.Context(), o.tree, o.upper, o.index, nil)
	must(o.tb, err)
	return c
}

func (o *overlay) list() []fs.PathChange {
	o.tb.Helper()
	all, err := List(o.tb.Context(), o.tree, o.upper, o.index, nil)
	must(o.tb, err)
	return all
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func openAt(tb testing.TB, dir int, name string) int {
	tb.Helper()
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(tb, err)
	return fd
}

// checkCommit packs the tree as the successor of its archive, compares what that holds,
// and returns it.
func (o *overlay) checkCommit() []byte {
	packed, _ := o.commit()
	return packed
}

// commit is checkCommit that also returns the plan.
func (o *overlay) commit() ([]byte, *archive.Plan) {
	o.tb.Helper()
	o.tree.Freeze()
	log := newLog(nil)
	plan, err := archive.NewWriter(nil, &archive.WriterOptions{Devices: true}).Plan(o.tb.Context(), o.tree, o.archive, log)
	must(o.tb, err)
	var out bytes.Buffer
	for _, piece := range plan.Pieces {
		if piece.Write == nil {
			out.Write(o.packed[piece.Off:][:piece.Len])
		} else {
			must(o.tb, piece.Write(&out))
		}
	}
	next, _, err := standOn(out.Bytes(), nil)
	must(o.tb, err)
	got, want := held(o.tb, next), held(o.tb, o.tree)
	must(o.tb, next.Close())
	want.asArchived()
	got.asArchived()
	wantSame(o.tb, "the commit", got, want)
	return out.Bytes(), plan
}

// setACL gives a file an ACL.
func setACL(tb testing.TB, path string) {
	tb.Helper()
	acl := []byte{2, 0, 0, 0}
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 7, 1234}, {4, 4, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 4, ^uint32(0)}} {
		acl = append(acl, byte(e[0]), 0, byte(e[1]), 0, byte(e[2]), byte(e[2]>>8), byte(e[2]>>16), byte(e[2]>>24))
	}
	must(tb, unix.Setxattr(path, "system.posix_acl_access", acl, 0))
}
