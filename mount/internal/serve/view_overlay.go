package serve

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/fs/fsupper"
	"github.com/workdir/workdir/fs/fusefs"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/overlay"
	"github.com/workdir/workdir/mount/internal/wire"
)

// overlayView shows the tree in a kernel overlay: below it the frozen tree, in a FUSE mount
// that is attached nowhere; above it a directory in the tree's home, which tools write to
// without us. The overlay, with its copies in other mount namespaces, holds the only
// reference to the FUSE mount. So the barrier is the FUSE view's: our own umount(2), and
// then the end of the connection. What is in the directory is then applied to the tree.
//
// This process never uses the overlay's own path, except for the mount table.
type overlayView struct {
	fuseView
	traits  fs.Traits      // immutable; of the tree
	backing *fs.BackingDir // set by show; contains upper and work
	upper   int            // descriptor; set by show, -1 before
	private uint32         // immutable; permission bits of the root directory that replace its own; 0: none do

	passed  bool        // the barrier was passed
	applied atomic.Bool // the tree is what tools have left, or will be, or err says why not; status reads it beside the owner
	err     error       // why the tree is not what tools have left
}

func newOverlayView(h *hosted, traits fs.Traits) *overlayView {
	return &overlayView{fuseView: fuseView{h: h}, traits: traits, upper: -1}
}

// scratch returns where the layers are attached for a moment, if necessary.
func (v *overlayView) scratch() string {
	return host.ScratchPath(v.h.server.sessionDir(), v.h.req.ID)
}

// record implements view.
func (v *overlayView) record() (host.Record, error) {
	r, err := v.fuseView.record()
	r.Overlay, r.Scratch = true, ipc.Path(v.scratch())
	return r, err
}

// show mounts the tree and the overlay over it. An *overlay.Unsupported says that the
// overlay is not possible; drop then leaves nothing of it.
func (v *overlayView) show(context.Context) error {
	if err := v.makeUpper(); err != nil {
		return err
	}
	lower, err := v.serveLower()
	if err != nil {
		return err
	}
	o, err := overlay.Make(&overlay.Config{
		Source:   host.OverlaySource + v.h.req.Source,
		Lower:    lower,
		Home:     v.backing.FD(),
		Scratch:  v.scratch(),
		Metacopy: v.traits.Path <= overlay.MaxRedirect,
		Volatile: v.h.req.Spill != "",
		Suid:     v.h.req.Suid,
		Dev:      v.h.req.Dev,
		Without:  v.h.req.Without,
	})
	_ = unix.Close(lower) // the overlay has its own reference, or the mount ends
	if err != nil {
		return err
	}
	defer o.Close()
	v.dev = o.Device()
	if err := v.h.recordDevice(v.dev); err != nil { // before it is visible: its path alone does not identify it
		return err
	}
	if err := o.Attach(v.h.dir); err != nil {
		return err
	}
	v.mounted = true
	return nil
}

// makeUpper makes the directory for what tools write. It becomes the overlay's root
// directory, so it gets the attributes of the tree's.
func (v *overlayView) makeUpper() (err error) {
	if v.backing, err = fs.NewBackingDir(innerHome(v.h.home)); err != nil {
		return &overlay.Unsupported{Why: "there is no file system of the server's own for what is written: " + err.Error()}
	}
	v.h.own(v.backing)
	room, err := v.h.server.budget.roomFor(v.h.home, v.traits.Names)
	if err != nil {
		return &overlay.Unsupported{Why: "make room for the marks of removed files: " + err.Error()}
	}
	v.h.own(room)
	for _, name := range []string{overlay.UpperName, overlay.WorkName} {
		if err := unix.Mkdirat(v.backing.FD(), name, 0o700); err != nil {
			return &overlay.Unsupported{Why: "make the upper layer: " + err.Error()}
		}
	}
	if v.upper, err = v.open(overlay.UpperName); err == nil {
		err = v.dressRoot()
	}
	if err != nil {
		return &overlay.Unsupported{Why: "make the upper layer: " + err.Error()}
	}
	return nil
}

// open opens a directory below the backing directory, for as long as the tree exists.
func (v *overlayView) open(name string) (int, error) {
	fd, err := unix.Openat(v.backing.FD(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	v.h.own(descriptor(fd))
	return fd, nil
}

// descriptor opens a directory below the backing directory for reading.
type descriptor int

func (d descriptor) Close() error { return unix.Close(int(d)) }

// dressRoot gives the upper layer's root the attributes of the tree's. Users whom FUSE
// itself would keep out are kept out by the mode here: an overlay uses the credentials of
// the user who mounted it.
func (v *overlayView) dressRoot() error {
	tree := v.h.tree
	root := tree.Root()
	a := tree.Attr(root)
	mode := a.Mode & fs.PermBits
	if !v.h.req.AllowOther {
		v.private = mode&0o7000 | 0o700
		mode = v.private
	}
	names, errno := tree.ListXattr(root)
	if errno != 0 {
		return errno
	}
	for _, name := range names {
		value, errno := tree.GetXattr(root, name)
		if errno != 0 {
			return errno
		}
		if err := unix.Fsetxattr(v.upper, name, value, 0); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return errors.Join(
		unix.Fchown(v.upper, int(a.UID), int(a.GID)),
		unix.Fchmod(v.upper, mode), // after chown(2), which may clear bits
		futimens(v.upper, a.Atime, a.Mtime),
	)
}

// futimens sets the times of an open file.
func futimens(fd int, atime, mtime fs.Time) error {
	times := []unix.Timespec{{Sec: atime.Sec, Nsec: int64(atime.Nsec)}, {Sec: mtime.Sec, Nsec: int64(mtime.Nsec)}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), times, 0)
}

// serveLower serves the tree in a mount that is attached nowhere, and returns the mount.
func (v *overlayView) serveLower() (lower int, err error) {
	fuse, err := host.OpenFuse(v.h.dir)
	if err != nil {
		return -1, err
	}
	lower, err = overlay.Lower(fuse, v.h.req.Source, host.Subtype, host.MaxIO)
	if err != nil {
		unix.Close(fuse)
		return -1, err
	}
	v.conn, err = fusefs.Serve(fuse, v.h.tree, &fusefs.Options{
		ReadOnly: true,
		Lower:    &v.traits,
		Logger:   v.h.logger(),
	})
	if err == nil {
		err = v.conn.WaitMount()
	}
	if err != nil {
		unix.Close(lower)
		return -1, &overlay.Unsupported{Why: "serve the lower layer: " + err.Error()}
	}
	if dev, err := deviceOf(lower); err == nil {
		fusefs.BDIOf(dev).ReadAhead()
	}
	return lower, nil
}

// deviceOf returns the device number of the file system of a descriptor, "major:minor".
func deviceOf(fd int) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor), nil
}

// freeze makes the mount read-only, as soon as nobody has a file open for writing.
func (v *overlayView) freeze() {
	if v.tryFreeze() {
		return
	}
	go func() {
		tick := time.NewTicker(freezeRetry)
		defer tick.Stop()
		for {
			select {
			case <-v.conn.Done():
				return
			case <-tick.C:
				if v.tryFreeze() {
					return
				}
			}
		}
	}()
}

// freezeRetry is how long freeze waits before it tries again.
const freezeRetry = 100 * time.Millisecond

// tryFreeze reports whether the mount is read-only, or cannot become read-only.
func (v *overlayView) tryFreeze() bool {
	return v.checkOnTop() != nil || !errors.Is(overlay.ReadOnly(v.h.dir), unix.EBUSY)
}

// withdraw implements view. The barrier is that of the FUSE view.
func (v *overlayView) withdraw(ctx context.Context, deadline time.Time) error {
	err := v.fuseView.withdraw(ctx, deadline)
	v.passed = err == nil
	return err
}

func (v *overlayView) applyOptions() *fsupper.Options {
	return &fsupper.Options{Backing: v.backing, RootPerm: v.private, Warn: v.h.warnAt}
}

// apply applies what tools have left to the tree, once. The barrier has been passed.
func (v *overlayView) apply(ctx context.Context) error {
	if !v.applied.Load() {
		v.applied.Store(true)
		v.err = archive.PathTooLong(fsupper.Apply(ctx, v.h.tree, v.upper, -1, v.applyOptions()))
	}
	return v.err
}

// changes implements view. If something else has ended the mount, what is left counts.
func (v *overlayView) changes(ctx context.Context) fs.Changes {
	if v.h.tree.Poisoned() {
		return fs.Changes{}
	}
	if v.passed && v.apply(ctx) == nil {
		return v.h.tree.Changes()
	}
	return v.count(ctx)
}

// count returns what would have changed if the work ended now.
func (v *overlayView) count(ctx context.Context) fs.Changes {
	c, err := fsupper.Count(ctx, v.h.tree, v.upper, -1, v.applyOptions())
	if err != nil {
		v.h.logger().Warn("the changes cannot be counted", "error", err)
	}
	return c
}

// list implements view.
func (v *overlayView) list(ctx context.Context) ([]fs.PathChange, error) {
	return fsupper.List(ctx, v.h.tree, v.upper, -1, v.applyOptions())
}

// take implements view.
func (v *overlayView) take(ctx context.Context) (changed bool, err error) {
	if err := v.apply(ctx); err != nil {
		return false, fmt.Errorf("what was written cannot be taken over: %w", err)
	}
	return v.fuseView.take(ctx)
}

// still copies what was changed. The kernel cannot keep tools from changing more meanwhile,
// so it looks before and after, and compares.
func (v *overlayView) still(ctx context.Context, fn func(*loaded) error) error {
	for range stillTries {
		quiet, err := v.copy(ctx, fn)
		if quiet || ctx.Err() != nil {
			return err
		}
	}
	return v.h.changing(host.UsersOf(v.dev))
}

// copy calls fn with a copy. It reports whether nothing was changed meanwhile; if something
// was, err means nothing.
func (v *overlayView) copy(ctx context.Context, fn func(*loaded) error) (quiet bool, err error) {
	before, err := v.look(ctx)
	if err != nil {
		return !errors.Is(err, fsdir.ErrChanged), err
	}
	fork, err := v.h.fork(ctx)
	defer func() { fork.free() }()
	if err != nil {
		return true, err
	}
	copyErr := fsupper.Copy(ctx, fork.tree, v.upper, -1, &fsupper.Options{RootPerm: v.private, Warn: v.h.warnAt})
	after, err := v.look(ctx)
	switch {
	case err != nil:
		return !errors.Is(err, fsdir.ErrChanged), err
	case !before.Equal(after):
		return false, nil
	}
	if copyErr != nil {
		return true, limitError(copyErr)
	}
	fork.tree.Freeze()
	return true, fn(&fork)
}

// look returns the state of upper, once further changes are certain to get another time.
func (v *overlayView) look(ctx context.Context) (*fsdir.Snapshot, error) {
	d, err := fsdir.OpenDir("/proc/self/fd/" + strconv.Itoa(v.upper))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	s, err := d.Take(ctx, false)
	if err != nil {
		return nil, err
	}
	return s, s.Settle(ctx)
}

func (v *overlayView) used() (bytes, names int64) {
	bytes, names = v.fuseView.used()
	more, moreNames := usage(v.upper)
	return bytes + more, names + moreNames
}

// status implements view.
func (v *overlayView) status(st *wire.Status) {
	v.fuseView.status(st)
	st.View = wire.ViewOverlay
	if v.h.tree.Poisoned() || v.applied.Load() {
		return
	}
	st.Changes = v.count(context.Background())
	bytes, inodes := usage(v.upper)
	st.Bytes += bytes
	st.Inodes += inodes
}

// usage returns what the files below a directory take: bytes, and the number of names.
// Files that disappear meanwhile do not count.
func usage(dir int) (bytes, names int64) {
	seen := map[uint64]bool{} // files with several names
	root := "/proc/self/fd/" + strconv.Itoa(dir) + "/"
	_ = filepath.WalkDir(root, func(path string, _ iofs.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil || path == root {
			return nil
		}
		names++
		if st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Nlink == 1 || !seen[st.Ino] {
			bytes += st.Blocks * 512
		}
		seen[st.Ino] = seen[st.Ino] || st.Nlink > 1
		return nil
	})
	return bytes, names
}
