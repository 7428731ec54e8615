package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// A temporary file is in the home of the directory of the archive that it will become, and is
// locked by its writer for as long as the writer lives. An unlocked one was left by a killed
// process.
const tempPrefix = ".workdir-tmp-"

var tempName = regexp.MustCompile(`^\.workdir-tmp-[0-9a-f]{16}$`)

// temp is a temporary file.
type temp struct {
	dir  *dir
	file *os.File
	name string // "" once it has been renamed
}

// newTemp creates an empty temporary file for an archive in d. ENOENT means that d itself was
// removed.
func (d *dir) newTemp(mode uint32) (t *temp, err error) {
	err = d.withHome(func(home *dir) error {
		home.sweepNowAndThen()
		if !d.trusts(home) {
			home.close()
			if home, err = openDir(d.path, unix.O_RDONLY, d.sys); err != nil {
				return err
			}
		}
		if t, err = home.makeTemp(mode); err != nil {
			home.close()
			return homeErrorOf(home, err)
		}
		return nil
	})
	return t, err
}

// trusts reports whether only users who may replace the archives of d can replace a file in
// its home. In a sticky directory users can replace their own files, but the owner of the home
// can replace everybody's in it: there temporary files are created beside the archives.
func (d *dir) trusts(home *dir) bool {
	var st, hst unix.Stat_t
	if unix.Fstat(d.fd, &st) != nil || unix.Fstat(home.fd, &hst) != nil {
		return false
	}
	return st.Mode&unix.S_ISVTX == 0 || hst.Uid == 0 || hst.Uid == st.Uid || int(hst.Uid) == os.Geteuid()
}

func randomName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// makeTemp creates an empty temporary file in d, which the temp then owns.
func (d *dir) makeTemp(mode uint32) (*temp, error) {
	for {
		name := tempPrefix + randomName()
		fd, err := openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t := &temp{dir: d, name: name, file: os.NewFile(uintptr(fd), d.path+"/"+name)}
		ours, err := t.claim()
		if ours {
			return t, nil
		}
		t.remove()
		if err != nil {
			return nil, err
		}
	}
}

// claim locks the file. It returns false if a sweep removed the file before it was locked.
func (t *temp) claim() (bool, error) {
	fd := int(t.file.Fd())
	err := eintr.Retry(func() error { return t.dir.sys.flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, errNoLocks("flock", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	return st.Nlink > 0, nil
}

// fill calls write for the file's content, and makes it durable.
func (t *temp) fill(ctx context.Context, write func(io.Writer) error) error {
	w := &tempWriter{ctx: ctx, file: t.file}
	err := write(w)
	if w.err != nil {
		return w.err
	}
	if err != nil {
		return &callerError{err}
	}
	if err := ContextError(ctx); err != nil {
		return err
	}
	t.date()
	return eintr.Retry(func() error { return t.dir.sys.fsync(int(t.file.Fd())) })
}

// date sets an mtime that is not the ctime, which shows readers that nobody writes the file
// in place. A file system may keep only one of the two.
func (t *temp) date() {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(time.Now().UnixNano())}
	_ = unix.UtimesNanoAt(t.dir.fd, t.name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// tempWriter writes while ctx lives, and keeps its first error.
type tempWriter struct {
	ctx  context.Context
	file *os.File
	err  error
}

func (w *tempWriter) Write(p []byte) (n int, err error) {
	if w.err == nil {
		w.err = ContextError(w.ctx)
	}
	if w.err == nil {
		n, w.err = w.file.Write(p)
	}
	return n, w.err
}

// discard removes the file, unless it has become the archive.
func (t *temp) discard() {
	t.remove()
	t.dir.close()
}

func (t *temp) remove() {
	if t.name != "" {
		_ = unix.Unlinkat(t.dir.fd, t.name, 0)
	}
	_ = t.file.Close()
}

// sweepPause is how long a process leaves a home alone that it has swept.
const sweepPause = time.Minute

// swept has the time at which this process last swept a home.
var swept sync.Map // dirID to time.Time

type dirID struct{ dev, ino uint64 }

// sweepHome sweeps the home of d, if there is one, now and then.
func (d *dir) sweepHome() {
	fd, err := openat(d.fd, homeName, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	home := &dir{fd: fd, path: d.path + "/" + homeName, sys: d.sys}
	defer home.close()
	home.sweepNowAndThen()
}

// sweepNowAndThen is sweep once in sweepPause.
func (d *dir) sweepNowAndThen() {
	var st unix.Stat_t
	if unix.Fstat(d.fd, &st) != nil {
		return
	}
	id := dirID{uint64(st.Dev), st.Ino}
	if at, ok := swept.Load(id); ok && time.Since(at.(time.Time)) < sweepPause {
		return
	}
	swept.Store(id, time.Now())
	d.sweep()
}

// sweep removes temporary files, and homes without a name, that a kill left in d. What cannot
// be removed now waits for the next sweep.
func (d *dir) sweep() {
	names, err := d.names()
	if err != nil {
		return
	}
	for _, name := range names {
		if tempName.MatchString(name) {
			d.sweepName(name)
		}
	}
}

// sharedAge is how old a temporary file must be where the lock of its writer
// could be unknown to this host.
const sharedAge = 24 * time.Hour

func (d *dir) sweepName(name string) {
	fd, err := openat(d.fd, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EISDIR) {
		fd, err = openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	isDir := unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && regular(&st) != nil {
		return
	}
	if !d.local() && time.Since(stampOf(&st).time()) < sharedAge {
		return
	}
	if d.sys.flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	if !isDir {
		_ = unix.Unlinkat(d.fd, name, 0)
		return
	}
	if now, err := d.stat(name); err == nil && now.Ino == st.Ino { // else it has become the home
		_ = unix.Unlinkat(fd, lockName, 0)
		_ = unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
	}
}
