package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// Bounds of the wait for a lock, which commits hold only for a compare and a rename.
const (
	lockMessage  = time.Second // after which the wait is logged
	lockPatience = time.Minute
)

// lockedError: another process held the lock of a directory all the time.
type lockedError struct{ path string }

func (e *lockedError) Error() string {
	return fmt.Sprintf("another process has held the lock %s for %v", e.path, lockPatience)
}

// lock locks the directory for one commit. It waits until ctx ends, but at most for
// lockPatience. ENOENT means that d itself was removed.
func (d *dir) lock(ctx context.Context) (unlock func(), err error) {
	w := &lockWait{path: d.path + "/" + homeName + "/" + lockName, since: time.Now()}
	err = d.withHome(func(home *dir) error {
		defer home.close()
		fd, err := home.openLock()
		if err != nil {
			return homeErrorOf(home, err)
		}
		if err = w.wait(ctx, func() error { return d.sys.lock(fd) }); err == nil && !home.isLock(fd) {
			err = unix.ENOENT
		}
		if err != nil {
			_ = unix.Close(fd)
			return err
		}
		unlock = func() { _ = unix.Close(fd) }
		return nil
	})
	return unlock, err
}

// homeErrorOf wraps the error of a call in a home; ENOENT is unchanged.
func homeErrorOf(home *dir, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return err
	}
	return &homeError{home.path, err}
}

// lockWait is one wait for the lock of a directory.
type lockWait struct {
	path  string
	since time.Time
	told  bool // the log has heard of it
}

// wait calls try until it gets the lock. A wait in the kernel could not be cancelled.
func (w *lockWait) wait(ctx context.Context, try func() error) error {
	const most = 20 * time.Millisecond
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, most) {
		err := eintr.Retry(try)
		switch {
		case noSuchLock(err):
			return errNoLocks("fcntl", err)
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES):
			return err
		}
		waited := time.Since(w.since)
		if waited > lockPatience {
			return &lockedError{w.path}
		}
		if waited > lockMessage && !w.told {
			w.told = true
			Logger(ctx).Warn("the commit waits for a lock that another process holds", "lock", w.path)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; another process holds the lock %s", ContextError(ctx), w.path)
		case <-time.After(pause):
		}
	}
}
