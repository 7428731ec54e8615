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

// NewSession makes a session directory and returns its lock, which is held until the last
// process that has the file has ended.
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
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX) // others hold it for a moment while they check it, see isDeadSession
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

// DeadSession is a session whose processes were killed. This process holds its lock, so all
// others take it for alive.
type DeadSession struct {
	Dir  string
	lock *os.File
}

// Remove removes the session, whose mounts are all cleared away.
func (d DeadSession) Remove() {
	RemoveSession(d.Dir)
	d.lock.Close()
}

// TakeDead returns the dead sessions of a run directory, for the caller to clear away and
// remove. It removes unfinished sessions itself: without the lock of the run directory, one
// of these could be a session that is being made.
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
	dirs, _ := filepath.Glob(filepath.Join(globEscape(runDir), SessionPrefix+"*")) // fails only on a bad pattern
	return dirs
}

// globEscape quotes a path for a pattern of filepath.Glob.
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

// takeIfDead reports whether no process holds the session's lock any more, and returns that
// lock, which this process then holds. The lock is nil for a session that was never
// finished.
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

// RemoveSession removes the files of a session one by one, and never a whole tree, which
// could lead into a mount.
func RemoveSession(dir string) {
	recs, _ := filepath.Glob(filepath.Join(globEscape(dir), RecordsName, "*")) // fails only on a bad pattern
	for _, name := range recs {
		os.Remove(name)
	}
	for _, name := range []string{StderrName, socketName, RecordsName, LockName, ""} {
		os.Remove(filepath.Join(dir, name))
	}
}

// SocketAddr returns an address for a socket in a directory of any length: the address of a
// Unix socket holds only 108 bytes (unix(7)).
func SocketAddr(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + socketName}
}

// ClientOf returns the number of the process that made a session; 0 if its name does not
// have it.
func ClientOf(session string) int {
	pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(session), SessionPrefix), "-")
	n, _ := strconv.Atoi(pid) // 0 if it is not a number
	return n
}

// OwnedBy returns the directories that belong to a user, or to the caller, as whom that
// user may appear in a user namespace. Others do not count: anybody could make a directory
// of that name in /tmp and answer there for mounts of others.
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

// SessionsIn returns the sessions of a run directory; "" stands for this user's usual ones,
// if they belong to this user.
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
