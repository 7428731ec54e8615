package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/ipc"
)

// The run directory holds one session directory for each client and its server:
//
//	RUN/.lock           held while sessions are made or cleared away
//	RUN/s-PID-RANDOM/   a session
//	    lock            flocked by client and server together; free: both are dead
//	    stderr          what the server process printed: the trace of a crash
//	    control.sock    where the client answers commands of other processes
//	    mounts/spill-N.json  a directory with spill directories of its mounts
//	    mounts/N.json   one record for each mount, written before mounting
//	RUN/mnt/NAME-DIGEST mountpoints that we made, and plain workspaces, see mountpoint.go
const (
	sessionPrefix   = "s-"
	lockName        = "lock"
	stderrName      = "stderr"
	socketName      = "control.sock"
	recordsName     = "mounts"
	mountpointsName = "mnt"
)

// record is what the next process needs in order to clear a mount away.
type record struct {
	ID   uint64   `json:"id,omitempty"` // of the mount, in its session, which gives none twice
	Path ipc.Path `json:"path"`
	URL  string   `json:"url,omitempty"` // without secrets
	Made bool     `json:"made"`          // the mountpoint is ours to remove, if it is still Dir
	// Dir is the directory at Path, beneath the mount.
	Dir dirID `json:"dir"`
	// Dev is the device number of the mount, "major:minor"; "" before it is made. A
	// path is no identity: what is mounted there may be another mount by now, or in
	// another mount namespace.
	Dev string `json:"dev,omitempty"`
	// Plain: the directory shows the workspace, and nothing is mounted there.
	Plain bool `json:"plain,omitempty"`
	// Spill is a directory in which spill directories of the session are. A record that
	// has it has nothing else: it is there before the first of them is made, and stays
	// as long as the session.
	Spill ipc.Path `json:"spill,omitempty"`
}

// identity is equal for two records of one mount, and different for any two mounts
// that exist at the same time, in whatever mount namespace; "" before the mount is made.
// A later mount may have it again.
func (r record) identity() string {
	switch {
	case r.Plain:
		return fmt.Sprintf("directory %d:%d %d %d", r.Dir.Major, r.Dir.Minor, r.Dir.Ino, r.Dir.Born)
	case r.Dev != "":
		return "device " + r.Dev
	}
	return ""
}

// DefaultRunDir is /run/workdir for root and /run/user/UID/workdir for others,
// or, where those cannot be, /tmp/workdir-UID.
func DefaultRunDir() string { return runDirs(os.Geteuid())[0] }

// PlainRunDir is the run directory of plain workspaces, /tmp/workdir-UID: their content
// lies in it, and /run is in memory, small, and often forbids to execute what is in it.
func PlainRunDir() string { return plainRunDir(os.Geteuid()) }

func plainRunDir(uid int) string { return "/tmp/workdir-" + strconv.Itoa(uid) }

// runDirs are the places where the run directory of a user may be, the default
// first.
func runDirs(uid int) []string {
	parent := "/run"
	if uid != 0 {
		parent = filepath.Join("/run/user", strconv.Itoa(uid))
	}
	fallback := plainRunDir(uid)
	if unix.Access(parent, unix.W_OK|unix.X_OK) != nil {
		return []string{fallback}
	}
	return []string{filepath.Join(parent, "workdir"), fallback}
}

// ensureRunDir makes the run directory, or checks that it is private to us. It
// returns its canonical path.
func ensureRunDir(dir string) (string, error) {
	if dir == "" {
		dir = DefaultRunDir()
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &HostError{Path: dir, What: err.Error()}
	}
	w := runDirWalk{at: -1}
	defer w.close()
	if err := w.to(abs); err != nil {
		return "", &HostError{Path: abs, What: "make run directory: " + err.Error(), Hint: "choose another run directory"}
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.at, &st); err != nil {
		return "", &HostError{Path: w.path, What: "run directory: " + err.Error()}
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return "", &HostError{Path: w.path, What: fmt.Sprintf("the run directory must be private: it has owner %d and mode %04o", st.Uid, st.Mode&0o7777),
			Hint: "chmod 700 it, or choose another run directory"}
	}
	return w.path, refuseOwnMount(w.path, "the run directory")
}

// refuseOwnMount keeps paths that the server uses out of our own mounts, where
// the server would wait for itself.
func refuseOwnMount(path, what string) error {
	if !isOnFUSE(path) {
		return nil
	}
	table, err := mountTable("self")
	if err != nil {
		return &HostError{Path: path, What: "read the mount table: " + err.Error(), Hint: "is /proc mounted?"}
	}
	if e, ok := mountOf(table, path); ok && e.isOurs() {
		return &HostError{Path: path, What: what + " is inside the mounted workspace " + e.path, Hint: "choose a path outside of it"}
	}
	return nil
}

// lockRunDir takes the lock of the run directory. The caller closes the file.
func lockRunDir(ctx context.Context, dir string) (*os.File, error) {
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

// newSessionDir makes a session directory and gives its lock, which stays held
// until the last process that has the file has ended.
func newSessionDir(ctx context.Context, runDir string) (dir string, lock *os.File, err error) {
	guard, err := lockRunDir(ctx, runDir)
	if err != nil {
		return "", nil, err
	}
	defer guard.Close()
	dir, err = os.MkdirTemp(runDir, sessionPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", nil, err
	}
	lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	for again := err == nil; again; again = errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX) // others have it for as long as they look, see isDeadSession
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, recordsName), 0o700)
	}
	if err != nil {
		removeSession(dir)
		return "", nil, err
	}
	return dir, lock, nil
}

// CleanUp clears away what killed clients and servers left in the run directory
// ("": DefaultRunDir and PlainRunDir): dead mounts, mountpoints, plain workspaces,
// records, spill directories. What is alive is left alone. A run directory that does not
// exist is clean. Where ctx ends first, the rest goes on for as long as the process lives.
func CleanUp(ctx context.Context, runDir string) error {
	if runDir != "" {
		return cleanUp(ctx, runDir)
	}
	var errs []error
	for _, dir := range runDirs(os.Geteuid()) {
		errs = append(errs, cleanUp(ctx, dir))
	}
	return errors.Join(errs...)
}

func cleanUp(ctx context.Context, runDir string) error {
	if _, err := os.Lstat(runDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	runDir, err := ensureRunDir(runDir)
	if err != nil {
		return err
	}
	dead, err := takeDead(ctx, runDir)
	if err != nil {
		return fmt.Errorf("clean up %s: %w", runDir, err)
	}
	done := make(chan struct{})
	go func() { // a plain workspace may have a million files
		defer close(done)
		for _, d := range dead {
			d.clear()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("clean up %s: %w", runDir, context.Cause(ctx))
	}
}

// deadSession is what killed processes left. Its lock is ours, so that it counts as alive
// for all others.
type deadSession struct {
	dir  string
	lock *os.File // nil for one that was never finished
}

func (d deadSession) clear() {
	clearMounts(d.dir)
	removeSession(d.dir)
	if d.lock != nil {
		d.lock.Close()
	}
}

// takeDead finds the dead sessions of a run directory, which the caller clears away
// without the lock of the run directory.
func takeDead(ctx context.Context, runDir string) ([]deadSession, error) {
	guard, err := lockRunDir(ctx, runDir)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	return takeDeadLocked(runDir), nil
}

// takeDeadLocked is takeDead for a caller who holds the lock of the run directory. Without
// it a session that was never finished could be one that is just being made.
func takeDeadLocked(runDir string) []deadSession {
	var all []deadSession
	for _, dir := range sessionDirs(runDir) {
		lock, dead := takeIfDead(dir)
		switch d := (deadSession{dir, lock}); {
		case dead && lock == nil:
			d.clear()
		case dead:
			all = append(all, d)
		}
	}
	return all
}

func sessionDirs(runDir string) []string {
	dirs, _ := filepath.Glob(filepath.Join(globEscape(runDir), sessionPrefix+"*")) // fails on a bad pattern only
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
	f, err := os.OpenFile(filepath.Join(session, lockName), os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Is(err, os.ErrNotExist)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return f, true
}

func recordPath(session string, id uint64) string {
	return filepath.Join(session, recordsName, strconv.FormatUint(id, 10)+".json")
}

// writeRecord writes or replaces the record of a mount. Readers see the old one or
// the new one.
func writeRecord(session string, id uint64, r record) error {
	return writeRecordFile(recordPath(session, id), r)
}

func writeRecordFile(path string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// records reads the mounts of a session, by file.
func records(session string) map[string]record {
	files, _ := filepath.Glob(filepath.Join(globEscape(session), recordsName, "*.json")) // fails on a bad pattern only
	out := make(map[string]record, len(files))
	for _, file := range files {
		out[file] = readRecord(file)
	}
	return out
}

// readRecord reads one record; the zero record if it is gone.
func readRecord(file string) (r record) {
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &r) != nil {
		return record{}
	}
	return r
}

// clearMounts detaches the dead mounts of a session whose server is gone, and
// removes their records and the mountpoints that are ours.
func clearMounts(session string) {
	for file, r := range records(session) {
		if !isElsewhere(r, session) {
			clearMount(r)
		}
		os.Remove(file)
	}
}

// isElsewhere reports whether a living session has the recorded mount: the directory of
// a plain workspace may be used again after a process that was killed.
func isElsewhere(r record, session string) bool {
	if !r.Plain {
		return false // a mount that lives is not dead
	}
	for _, other := range sessionDirs(filepath.Dir(session)) {
		if other == session || isDeadSession(other) {
			continue
		}
		for _, living := range records(other) {
			if living.identity() == r.identity() {
				return true
			}
		}
	}
	return false
}

// clearMount detaches the recorded mount if no server answers for it, and removes
// what a plain workspace left. A record without a device stands for every dead mount
// of ours at its path.
func clearMount(r record) {
	if r.Spill != "" {
		fs.RemoveLeftSpills(string(r.Spill))
	}
	path := string(r.Path)
	if path == "" {
		return
	}
	if r.Plain {
		_ = clearPlain(path, r.Made, r.Dir) // what cannot be removed stays
		return
	}
	for range 8 { // several may lie on top of each other
		if isNoMountpoint(path) {
			break
		}
		table, err := mountTable("self")
		if err != nil {
			return
		}
		e, ok := topMountAt(table, path)
		if !ok {
			break
		}
		if !e.isOurs() || r.Dev != "" && r.Dev != e.dev || !isDead(path) || kernelDetach(path) != nil {
			return
		}
	}
	if id, err := dirIDOf(path); r.Made && err == nil && id == r.Dir {
		_ = unix.Rmdir(path) // an empty directory, or it stays
	}
}

// isDead reports whether the server of the mount at path is gone: the kernel
// answers ENOTCONN by itself then.
func isDead(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// removeSession removes the files that a session consists of, one by one: never
// a whole tree, which could lead into a mount.
func removeSession(dir string) {
	recs, _ := filepath.Glob(filepath.Join(globEscape(dir), recordsName, "*")) // fails on a bad pattern only
	for _, name := range recs {
		os.Remove(name)
	}
	for _, name := range []string{stderrName, socketName, recordsName, lockName, ""} {
		os.Remove(filepath.Join(dir, name))
	}
}
