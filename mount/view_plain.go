package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/internal/ipc"
)

// plainView shows the tree as files in a plain directory, for Options.Plain. The tree
// is unpacked there and given up; what tools have left is loaded into a new one.
// Whether anything is different the directory itself tells, by ctimes.
//
// But for op, its fields are guarded by hosted.op.
type plainView struct {
	h      *hosted         // immutable
	root   *fsdir.Dir      // the directory; set by record, immutable after it
	dir    dirID           // of root; likewise
	opened *fsdir.Snapshot // set by show, immutable after it
	lost   fsdir.Lost      // set by show
	closed *fsdir.Snapshot // set by withdraw
	broken error           // set by withdraw; why the directory cannot be read
	sums   bool            // set by show; times do not tell of all changes, so content must
	files  *fsdir.Files    // set by take

	// looking is held while the directory is looked at, so that we are not found
	// among those who use it.
	looking sync.Mutex
}

// plainRetry is the time between two looks for those who use a directory, for which
// the descriptors of all processes are listed.
const plainRetry = 100 * time.Millisecond

// readOnlyMask is what read-only files and directories lack.
const readOnlyMask = 0o222

func (v *plainView) path() string { return v.h.dir }

// record implements view, as does what follows. It opens the directory: what is done with
// its content goes by that descriptor, since others may own a directory above it, and
// lead the path elsewhere.
func (v *plainView) record() (r record, err error) {
	if v.root, err = fsdir.OpenCanonical(v.path()); err != nil {
		return r, err
	}
	empty, err := v.root.IsEmpty()
	switch {
	case err != nil:
		return r, err
	case !empty: // the client has looked, but perhaps at another one
		return r, notEmpty(v.path())
	}
	v.dir, err = dirIDOfFD(v.root.FD(), v.path())
	return record{Path: ipc.Path(v.path()), Made: v.h.req.Made, Dir: v.dir, Plain: true}, err
}

func (v *plainView) show(ctx context.Context) error {
	left := map[string][]string{}
	opts := &fsdir.UnpackOptions{
		KeepOwner: os.Geteuid() == 0,
		Root:      v.h.req.Made,
		RootTime:  v.h.req.Made,
		LeftOut:   func(path, name string) { left[path] = append(left[path], name) },
	}
	if v.h.req.ReadOnly {
		opts.Mask = readOnlyMask
	} else {
		told, err := v.root.TellsOfMappings(ctx)
		if err != nil {
			return v.showError(err)
		}
		v.sums = !told
	}
	if _, err := v.root.Unpack(ctx, v.h.tree, opts); err != nil {
		return v.showError(err)
	}
	if len(left) > 0 {
		v.h.warn(archive.Warning{Text: fmt.Sprintf("extended attributes of %d files are not to be seen: the file system of %s does not take them", len(left), v.path())})
	}
	if err := v.remember(ctx, left); err != nil {
		return fmt.Errorf("open %s in %s: %w", v.h.req.URL.Redacted(), v.path(), err)
	}
	v.h.freeTree()
	return v.checkSize(v.opened)
}

// showError says what to do about a full disk.
func (v *plainView) showError(err error) error {
	err = fmt.Errorf("open %s in %s: %w", v.h.req.URL.Redacted(), v.path(), err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w; choose a directory on a larger disk (--dir, or --run-dir)", ErrLimit, err)
	}
	return err
}

// remember keeps what the directory looks like, and what of the tree it does not
// hold.
func (v *plainView) remember(ctx context.Context, left map[string][]string) (err error) {
	if v.opened, err = v.root.Take(ctx, v.sums); err != nil {
		return err
	}
	if v.h.req.ReadOnly {
		return nil
	}
	if v.lost, err = fsdir.FindLost(v.h.tree, v.opened, left); err != nil {
		return err
	}
	return v.opened.Settle(ctx)
}

// checkSize holds a directory against MaxBytes. ErrLimit.
func (v *plainView) checkSize(s *fsdir.Snapshot) error {
	limit, size := v.h.req.MaxBytes, s.Bytes()
	if limit == 0 || size <= limit {
		return nil
	}
	return fmt.Errorf("%s: %w: its files have %d bytes, and MaxBytes (--max-bytes) is %d; raise it", v.path(), ErrLimit, size, limit)
}

// device is none.
func (v *plainView) device() string { return "" }

// freeze cannot be: what tools write from now on is lost with the directory.
func (v *plainView) freeze() {}

// ended is never: a directory does not end.
func (v *plainView) ended() <-chan struct{} { return nil }

// withdraw waits until no process is found that uses the directory. That is all that
// can be had: those of other users are not seen.
func (v *plainView) withdraw(ctx context.Context, deadline time.Time) error {
	for {
		users, err := v.look(ctx)
		switch {
		case err == nil && len(users) == 0, errors.Is(err, ErrUnmounted), ctx.Err() != nil:
			return err
		case err != nil && !errors.Is(err, fsdir.ErrChanged):
			v.broken = err
			return nil
		case !time.Now().Before(deadline):
			return &BusyError{Path: v.path(), Processes: users}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(plainRetry, time.Until(deadline))):
		}
	}
}

// look finds those who use the directory; where there is nobody, it keeps what the
// directory looks like.
func (v *plainView) look(ctx context.Context) ([]Process, error) {
	v.looking.Lock()
	defer v.looking.Unlock()
	if id, err := dirIDOf(v.path()); err != nil || id != v.dir {
		return nil, fmt.Errorf("%w: the directory %s is not there any more, or is another one", ErrUnmounted, v.path())
	}
	if p, ok := mountedWithin(v.path()); ok {
		return []Process{p}, nil
	}
	now, err := v.root.Take(ctx, false)
	if err != nil {
		return nil, err
	}
	if users := usersOfDir(v.path(), v.root.FD(), now.Numbers()); len(users) > 0 {
		return users, nil
	}
	v.closed, err = v.root.Take(ctx, v.sums) // they may have ended just now
	return nil, err
}

// shown is always: nothing ends it but drop.
func (v *plainView) shown() bool { return true }

func (v *plainView) changes() fs.Changes {
	if v.closed == nil {
		return fs.Changes{}
	}
	return v.opened.Changes(v.closed)
}

// take loads what the directory holds.
func (v *plainView) take(ctx context.Context) (changed bool, err error) {
	if v.broken != nil {
		return false, v.broken
	}
	if v.changes().Total() == 0 {
		return false, nil
	}
	if err := v.checkSize(v.closed); err != nil {
		return false, err
	}
	if v.files, err = v.root.Files(); err != nil {
		return false, err
	}
	home, err := newHome(leastShared) // of no content: that stays in the directory
	if err != nil {
		return false, err
	}
	v.h.own(home)
	if v.h.tree, err = fs.New(home, v.h.loader().treeOptions(0)); err != nil {
		return false, v.takeError(err)
	}
	if err := v.files.Load(ctx, v.h.tree, &fsdir.LoadOptions{Warn: v.h.warn}); err != nil {
		return false, v.takeError(err)
	}
	return true, v.lost.Restore(v.h.tree, v.closed)
}

func (v *plainView) takeError(err error) error {
	err = fmt.Errorf("%s: %w", v.path(), err)
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w; raise MaxInodes (--max-inodes)", ErrLimit, err)
	}
	return err
}

// confirm looks whether anything was changed since withdraw.
func (v *plainView) confirm(ctx context.Context) error {
	v.looking.Lock()
	defer v.looking.Unlock()
	now, err := v.root.Take(ctx, false)
	if err == nil && !v.closed.Equal(now) {
		err = fsdir.ErrChanged
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.path(), err)
	}
	return nil
}

func (v *plainView) cause() error {
	if v.files == nil {
		return nil
	}
	return v.files.Err()
}

func (v *plainView) drop() {
	if v.files != nil {
		v.files.Close()
	}
	if v.root == nil {
		return // nothing was shown
	}
	defer v.root.Close()
	if v.dir == (dirID{}) {
		return // likewise
	}
	if err := clearOpen(v.root, v.path(), v.h.req.Made); err != nil {
		v.h.server.note(v.h.req.ID, slog.LevelWarn, "the directory of the workspace is not removed", [2]string{"cause", err.Error()})
	}
}

// wait has nobody to wait for.
func (v *plainView) wait() {}

func (v *plainView) status(st *Status) {
	v.looking.Lock()
	defer v.looking.Unlock()
	st.MaxBytes, st.MaxInodes = v.h.req.MaxBytes, v.h.loader().maxInodes()
	now, err := v.root.Take(context.Background(), false)
	if err != nil {
		return // it changes just now, or is being removed
	}
	st.Changes, st.Bytes, st.Inodes = v.opened.Changes(now), now.Bytes(), now.Len()
}

// dirID is one directory for good, whatever its name: the number of one that was
// removed is used again, by one that was born later.
type dirID struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	Ino   uint64 `json:"ino"`
	Born  int64  `json:"born,omitempty"` // nanoseconds since 1970; 0 where the file system does not know
}

func dirIDOf(dir string) (dirID, error) { return dirIDAt(unix.AT_FDCWD, dir, dir) }

// dirIDOfFD is dirIDOf for an open directory; path is for messages.
func dirIDOfFD(fd int, path string) (dirID, error) { return dirIDAt(fd, "", path) }

func dirIDAt(fd int, name, path string) (dirID, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return dirID{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	id := dirID{Major: st.Dev_major, Minor: st.Dev_minor, Ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}

// clearPlain removes what is in a directory that showed a workspace, and the
// directory itself if we made it. It leaves a directory alone that is another one.
func clearPlain(dir string, made bool, id dirID) error {
	root, err := fsdir.OpenCanonical(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	now, err := dirIDOfFD(root.FD(), dir)
	if err != nil {
		return err
	}
	if now != id {
		return fmt.Errorf("%s is another directory now", dir)
	}
	return clearOpen(root, dir, made)
}

// clearOpen is clearPlain for a directory that is open. It goes into no mount.
func clearOpen(root *fsdir.Dir, path string, made bool) error {
	if p, ok := mountedWithin(path); ok {
		return fmt.Errorf("%s: %s: %s", path, p.Use, p.Name)
	}
	if err := root.Clear(); err != nil || !made {
		return err
	}
	return unix.Rmdir(path)
}
