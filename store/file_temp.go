package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A temporary file is hidden, stands beside the archive that it will become,
// and is locked by its writer for as long as the writer lives. One that nobody
// has locked was left by a kill.
const tempPrefix = ".workdir-tmp-"

var tempName = regexp.MustCompile(`^\.workdir-tmp-[0-9a-f]{16}$`)

// temp is a temporary file.
type temp struct {
	dir  *dir
	file *os.File
	name string // "" once it has been renamed
}

// newTemp makes an empty temporary file in d. ENOENT where the directory itself
// has been removed.
func newTemp(d *dir, mode uint32) (*temp, error) {
	for {
		var random [8]byte
		_, _ = rand.Read(random[:])
		name := tempPrefix + hex.EncodeToString(random[:])
		fd, err := openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode)
		if err == unix.EEXIST {
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
		t.discard()
		if err != nil {
			return nil, err
		}
	}
}

// claim locks the file. It is not ours where a sweep came between its making
// and its locking.
func (t *temp) claim() (bool, error) {
	fd := int(t.file.Fd())
	err := again(func() error { return t.dir.sys.flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: the file system has no locks (flock: %w)", ErrNotAllowed, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	return st.Nlink > 0, nil
}

// fill writes what write writes, and makes it durable.
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
	return again(func() error { return t.dir.sys.fsync(int(t.file.Fd())) })
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
	if t.name != "" {
		_ = unix.Unlinkat(t.dir.fd, t.name, 0)
	}
	_ = t.file.Close()
}

// swept remembers the mtime at which a directory was seen without any temporary
// file, so that a directory of many archives is not read for each of them.
var swept sync.Map // dirID to stamp

type dirID struct{ dev, ino uint64 }

// sweep removes temporary files that a kill left in d. It is done in passing and
// tells of no errors: what cannot be removed now waits for the next sweep.
func (d *dir) sweep() {
	var st unix.Stat_t
	if unix.Fstat(d.fd, &st) != nil {
		return
	}
	id, now := dirID{uint64(st.Dev), st.Ino}, stampOf(&st)
	if seen, ok := swept.Load(id); ok && seen == now {
		return
	}
	names, err := d.names()
	if err != nil {
		return
	}
	clean := true
	for _, name := range names {
		if tempName.MatchString(name) {
			clean = false
			d.sweepName(name)
		}
	}
	// A file made in this very tick would leave the mtime as it is.
	if clean && time.Since(now.time()) > time.Second {
		swept.Store(id, now)
	}
}

// sharedAge is how old a temporary file must be where the lock of its writer
// could be unknown to this host.
const sharedAge = 24 * time.Hour

func (d *dir) sweepName(name string) {
	fd, err := openat(d.fd, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == unix.EACCES {
		fd, err = openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || regular(&st) != nil {
		return
	}
	if !d.local() && time.Since(stampOf(&st).time()) < sharedAge {
		return
	}
	if d.sys.flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = unix.Unlinkat(d.fd, name, 0)
	}
}
