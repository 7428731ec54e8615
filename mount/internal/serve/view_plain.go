package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// plainView shows the tree as files in a plain directory, for Options.Plain. The tree is
// unpacked there and given up; what tools have left is loaded into a new one. The directory
// itself shows by its ctimes whether anything has changed.
//
// Its fields are the owner's.
type plainView struct {
	h      *hosted         // immutable
	root   *fsdir.Dir      // the directory; set by record, immutable after it
	dir    host.DirID      // of root; likewise
	opened *fsdir.Snapshot // set by show, immutable after it
	lost   fsdir.Lost      // set by show
	closed *fsdir.Snapshot // set by withdraw
	broken error           // set by withdraw; why the directory cannot be read
	sums   bool            // set by show; times do not show every change, so content is compared
	files  *fsdir.Files    // set by take

	// looking is held while this process looks at the directory, so that it does not find
	// itself among the users.
	looking sync.Mutex
}

// plainRetry is the time between two searches for users of a directory, each of which lists
// the descriptors of all processes.
const plainRetry = 100 * time.Millisecond

// readOnlyMask is the permission bits that read-only files and directories lack.
const readOnlyMask = 0o222

func (v *plainView) path() string { return v.h.dir }

// record implements view, as do the methods that follow. It opens the directory: all work
// on its content uses that descriptor, since others may own a parent directory and redirect
// the path.
func (v *plainView) record() (r host.Record, err error) {
	if v.root, err = fsdir.OpenCanonical(v.path()); err != nil {
		return r, err
	}
	empty, err := v.root.IsEmpty()
	switch {
	case err != nil:
		return r, err
	case !empty: // the client has checked, but perhaps another directory
		return r, host.NotEmpty(v.path())
	}
	v.dir, err = host.DirIDOfFD(v.root.FD(), v.path())
	return host.Record{Path: ipc.Path(v.path()), Made: v.h.req.Made, Dir: v.dir, Plain: true}, err
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
		told, err := v.root.StampsMappings(ctx)
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
		return fmt.Errorf("%w: %w; choose a directory on a larger disk (--dir, or --run-dir)", wire.ErrLimit, err)
	}
	return err
}

// remember records the state of the directory, and what it could not take of the tree.
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

// checkSize checks a directory against MaxBytes. ErrLimit.
func (v *plainView) checkSize(s *fsdir.Snapshot) error {
	limit, size := v.h.req.MaxBytes, s.Bytes()
	if limit == 0 || size <= limit {
		return nil
	}
	return fmt.Errorf("%s: %w: its files have %d bytes, and MaxBytes (--max-bytes) is %d; raise it", v.path(), wire.ErrLimit, size, limit)
}

// device returns "": nothing is mounted.
func (v *plainView) device() string { return "" }

// freeze does nothing: what tools write from now on is lost with the directory.
func (v *plainView) freeze() {}

// ended returns nil: a directory does not end.
func (v *plainView) ended() <-chan struct{} { return nil }

// withdraw waits until no process that uses the directory is found. More is not possible:
// processes of other users are not visible.
func (v *plainView) withdraw(ctx context.Context, deadline time.Time) error {
	for {
		users, err := v.look(ctx)
		switch {
		case err == nil && len(users) == 0, errors.Is(err, wire.ErrUnmounted), ctx.Err() != nil:
			return err
		case err != nil && !errors.Is(err, fsdir.ErrChanged):
			v.broken = archive.PathTooLong(err)
			return nil
		case !time.Now().Before(deadline):
			return &host.BusyError{Path: v.path(), Processes: users}
		}
		v.h.noteUsers(func() []host.Process { return users })
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(plainRetry, time.Until(deadline))):
		}
	}
}

// look finds the users of the directory; if there are none, it records the state of the
// directory.
func (v *plainView) look(ctx context.Context) ([]host.Process, error) {
	v.looking.Lock()
	defer v.looking.Unlock()
	if id, err := host.DirIDOf(v.path()); err != nil || id != v.dir {
		return nil, fmt.Errorf("%w: the directory %s is not there any more, or is another one", wire.ErrUnmounted, v.path())
	}
	if p, ok := host.MountedWithin(v.path()); ok {
		return []host.Process{p}, nil
	}
	now, err := v.root.Take(ctx, false)
	if err != nil {
		return nil, err
	}
	if users := host.UsersOfDir(v.path(), v.root.FD(), hasNumber(now)); len(users) > 0 {
		return users, nil
	}
	v.closed, err = v.root.Take(ctx, v.sums) // they may have just ended
	return nil, err
}

// hasNumber returns a function that reports whether a file is in a snapshot.
func hasNumber(s *fsdir.Snapshot) func(host.FileNumber) bool {
	numbers := s.Numbers()
	return func(n host.FileNumber) bool { return numbers[fsdir.FileNumber(n)] }
}

// shown returns true: only drop ends the view.
func (v *plainView) shown() bool { return true }

func (v *plainView) changes(context.Context) fs.Changes {
	if v.closed == nil {
		return fs.Changes{}
	}
	return v.opened.Changes(v.closed)
}

func (v *plainView) list(ctx context.Context) ([]fs.PathChange, error) {
	v.looking.Lock()
	defer v.looking.Unlock()
	now, err := v.root.Take(ctx, v.sums)
	if err != nil {
		return nil, err
	}
	return v.opened.List(now), nil
}

// take loads the content of the directory.
func (v *plainView) take(ctx context.Context) (changed bool, err error) {
	if v.broken != nil {
		return false, v.broken
	}
	changed = v.changes(ctx).Total() > 0
	if !changed && v.h.rewound == "" && v.h.resumed == nil {
		return false, nil
	}
	v.files, err = v.load(ctx, &v.h.loaded, v.closed)
	return changed, err
}

// load fills the tree of c from the directory as s has recorded it. The files must be
// closed after the tree.
func (v *plainView) load(ctx context.Context, c *loaded, s *fsdir.Snapshot) (*fsdir.Files, error) {
	if err := v.checkSize(s); err != nil {
		return nil, err
	}
	files, err := v.root.Files()
	if err != nil {
		return nil, err
	}
	home, err := newHome(leastShared) // without content: that stays in the directory
	if err != nil {
		return files, err
	}
	c.own(home)
	if c.tree, err = fs.New(home, v.h.loader().treeOptions(0)); err != nil {
		return files, v.takeError(err)
	}
	if err := files.Load(ctx, c.tree, &fsdir.LoadOptions{Warn: v.h.warnAt}); err != nil {
		return files, v.takeError(err)
	}
	return files, v.lost.Restore(c.tree, s)
}

// still reads the directory, and again if it was changed meanwhile.
func (v *plainView) still(ctx context.Context, fn func(*loaded) error) error {
	v.looking.Lock()
	defer v.looking.Unlock()
	for range stillTries {
		before, err := v.root.Take(ctx, v.sums)
		if err == nil {
			err = before.Settle(ctx)
		}
		if err == nil {
			err = v.read(ctx, before, fn)
			if after, takeErr := v.root.Take(ctx, v.sums); takeErr == nil && before.Equal(after) {
				return err
			} else if takeErr != nil {
				err = takeErr
			} else {
				err = fsdir.ErrChanged
			}
		}
		if ctx.Err() != nil || !errors.Is(err, fsdir.ErrChanged) {
			return err
		}
	}
	return v.h.changing(nil)
}

// read calls fn with a tree of the directory.
func (v *plainView) read(ctx context.Context, s *fsdir.Snapshot, fn func(*loaded) error) error {
	var c loaded
	files, err := v.load(ctx, &c, s)
	if err == nil {
		c.tree.Freeze()
		err = fn(&c)
	}
	c.free()
	if files != nil {
		files.Close()
	}
	return err
}

// used returns 0: packed content goes to a disk.
func (v *plainView) used() (bytes, names int64) { return 0, 0 }

func (v *plainView) takeError(err error) error {
	err = fmt.Errorf("%s: %w", v.path(), err)
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w; raise MaxInodes (--max-inodes)", wire.ErrLimit, err)
	}
	return err
}

// confirm checks that nothing has changed since withdraw.
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
	if v.dir == (host.DirID{}) {
		return // likewise
	}
	if err := clearOpen(v.root, v.path(), v.h.req.Made); err != nil {
		v.h.server.note(v.h.req.ID, slog.LevelWarn, "the directory of the workspace is not removed", [2]string{"cause", err.Error()})
	}
}

// wait returns at once: nobody asks for the tree.
func (v *plainView) wait() {}

func (v *plainView) status(st *wire.Status) {
	st.View = wire.ViewPlain
	v.looking.Lock()
	defer v.looking.Unlock()
	st.MaxBytes, st.MaxInodes = v.h.req.MaxBytes, v.h.loader().maxInodes()
	now, err := v.root.Take(context.Background(), false)
	if err != nil {
		return // it is changing, or is being removed
	}
	st.Changes, st.Bytes, st.Inodes = v.opened.Changes(now), now.Bytes(), now.Len()
}
