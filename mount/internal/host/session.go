package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockRunDir takes the lock of the run directory. The caller closes the file.
func LockRunDir(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// NewSession makes a session directory and returns its lock, which stays held
// until the last process that has the file has ended.
func NewSession(ctx context.Context, runDir string) (dir string, lock *os.File, err error) {
	guard, err := LockRunDir(ctx, runDir)
	if err != nil {
		return "", nil, err
	}
	defer guard.Close()
	dir, err = os.MkdirTemp(runDir, SessionPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", nil, err
	}
	lock, err = os.OpenFile(filepath.Join(dir, LockName), os.O_CREATE|os.O_RDWR, 0o600)
	for again := err == nil; again; again = errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX) // others have it for as long as they look, see isDeadSession
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, RecordsName), 0o700)
	}
	if err != nil {
		RemoveSession(dir)
		return "", nil, err
	}
	return dir, lock, nil
}

// DeadSession is what killed processes left. Its lock is ours, so that it counts as alive
// for all others.
type DeadSession struct {
	Dir  string
	lock *os.File
}

// Remove removes the session, of whose mounts nothing is left.
func (d DeadSession) Remove() {
	RemoveSession(d.Dir)
	d.lock.Close()
}

// TakeDead returns the dead sessions of a run directory, which the caller clears away and
// removes. It removes those that were never finished itself: without the lock of the run
// directory such a session could be one that is just being made.
func TakeDead(ctx context.Context, runDir string) ([]DeadSession, error) {
	guard, err := LockRunDir(ctx, runDir)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	var all []DeadSession
	for _, dir := range SessionDirs(runDir) {
		lock, dead := takeIfDead(dir)
		switch {
		case dead && lock == nil:
			RemoveSession(dir)
		case dead:
			all = append(all, DeadSession{dir, lock})
		}
	}
	return all, nil
}

// SessionDirs returns the sessions of a run directory.
func SessionDirs(runDir string) []string {
	dirs, _ := filepath.Glob(filepath.Join(globEscape(runDir), SessionPrefix+"*")) // fails on a bad pattern only
	return dirs
}

// globEscape keeps the meaning of a path in a pattern of filepath.Glob.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func isDeadSession(session string) bool {
	lock, dead := takeIfDead(session)
	if lock != nil {
		lock.Close()
	}
	return dead
}

// takeIfDead reports whether no process holds the session's lock any more. The
// lock, which is ours then, may be nil: a session that was never finished.
func takeIfDead(session string) (*os.File, bool) {
	f, err := os.OpenFile(filepath.Join(session, LockName), os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Is(err, os.ErrNotExist)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return f, true
}

// RemoveSession removes the files that a session consists of, one by one: never
// a whole tree, which could lead into a mount.
func RemoveSession(dir string) {
	recs, _ := filepath.Glob(filepath.Join(globEscape(dir), RecordsName, "*")) // fails on a bad pattern only
	for _, name := range recs {
		os.Remove(name)
	}
	for _, name := range []string{StderrName, socketName, RecordsName, LockName, ""} {
		os.Remove(filepath.Join(dir, name))
	}
}

// SocketAddr reaches a socket in a directory of any length: the address of a
// Unix socket holds 108 bytes only (unix(7)).
func SocketAddr(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + socketName}
}

// ClientOf is the number of the process that made a session; 0 if its name does not say.
func ClientOf(session string) int {
	pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(session), SessionPrefix), "-")
	n, _ := strconv.Atoi(pid) // 0 if it is no number
	return n
}

// OwnedBy returns the directories that belong to a user, or to the caller, whom that user
// may be in a user namespace: anybody could make one of that name in /tmp, and answer
// there for mounts of others.
func OwnedBy(uid int, dirs []string) []string {
	var owned []string
	for _, dir := range dirs {
		var st unix.Stat_t
		if unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && slices.Contains([]int{uid, os.Geteuid()}, int(st.Uid)) {
			owned = append(owned, dir)
		}
	}
	return owned
}

// SessionsIn returns the sessions of a run directory; "" stands for the usual ones of
// this user, if they are that user's indeed.
func SessionsIn(runDir string) []string {
	if runDir != "" {
		return SessionDirs(runDir)
	}
	var all []string
	for _, dir := range OwnedBy(os.Geteuid(), RunDirs(os.Geteuid())) {
		all = append(all, SessionDirs(dir)...)
	}
	return all
}
