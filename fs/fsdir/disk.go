package fsdir

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/eintr"
)

// Files are the files of a directory. Their content is read only when it is asked for,
// possibly more than once. If a file has changed since it was found, a read returns an
// error and no bytes.
type Files struct {
	root int // descriptor of the directory; immutable

	mu    sync.Mutex
	file  *diskFile // guarded by mu; the file that is open: reads go file by file
	fd    int       // guarded by mu; descriptor of file
	cause error     // guarded by mu; the first error: a tree keeps only an errno
}

// Close closes the files. The tree that was filled from them then has no content.
func (d *Files) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeLocked()
	_ = unix.Close(d.root)
}

func (d *Files) closeLocked() {
	if d.file != nil {
		_ = unix.Close(d.fd)
		d.file = nil
	}
}

// Err returns the first error of a read: the cause of an EIO from the tree.
func (d *Files) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cause
}

// diskStamp holds what changes in a file's status when its content changes.
type diskStamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func stampOf(st *unix.Stat_t) diskStamp {
	return diskStamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// diskFile is the content of one file. It is an fs.Base. Its fields are immutable.
type diskFile struct {
	all   *Files
	path  string
	stamp diskStamp
	used  int64
}

// ErrChanged says that a file changed after it was found.
var ErrChanged = errors.New("it changed while it was imported")

// base returns the content of the file that is open as fd, or ErrChanged if it is not the
// file that st describes.
func (d *Files) base(fd int, path string, st *unix.Stat_t) (fs.Base, error) {
	f := &diskFile{all: d, path: path, stamp: stampOf(st), used: st.Blocks * 512}
	return f, f.check(fd)
}

func (f *diskFile) check(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if stampOf(&st) != f.stamp {
		return ErrChanged
	}
	return nil
}

// use calls fn with a descriptor of the file. The result counts only if the file is
// unchanged before and after the call.
func (f *diskFile) use(fn func(fd int) error) error {
	d := f.all
	d.mu.Lock()
	defer d.mu.Unlock()
	err := f.openLocked()
	if err == nil {
		err = fn(d.fd)
		if changed := f.check(d.fd); changed != nil {
			err = changed
		}
	}
	if err != nil && err != io.EOF && !errors.Is(err, unix.ENXIO) && d.cause == nil {
		d.cause = fmt.Errorf("%q: %w", f.path, err)
	}
	return err
}

// Preconditions: f.all.mu is held.
func (f *diskFile) openLocked() error {
	d := f.all
	if d.file == f {
		return nil
	}
	d.closeLocked()
	return beneath(d.root, f.path, func(dir int, name string) error {
		fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		d.file, d.fd = f, fd
		return f.check(fd)
	})
}

// Size implements fs.Base, as do the methods that follow.
func (f *diskFile) Size() int64 { return f.stamp.size }

// Used returns the bytes that the file takes on its disk.
func (f *diskFile) Used() int64 { return f.used }

func (f *diskFile) ReadAt(p []byte, off int64) (n int, err error) {
	p = p[:max(0, min(int64(len(p)), f.stamp.size-off))]
	err = f.use(func(fd int) error {
		for n < len(p) {
			got := 0
			err := eintr.Retry(func() (err error) { got, err = unix.Pread(fd, p[n:], off+int64(n)); return err })
			if err != nil {
				return err
			}
			if got == 0 {
				return ErrChanged
			}
			n += got
		}
		return nil
	})
	if err == nil && off+int64(n) == f.stamp.size {
		err = io.EOF
	}
	return n, err
}

func (f *diskFile) SeekData(off int64) (int64, error) { return f.seek(off, unix.SEEK_DATA) }
func (f *diskFile) SeekHole(off int64) (int64, error) { return f.seek(off, unix.SEEK_HOLE) }

// seek asks the file system for data or holes; a file system without holes reports all as
// data.
func (f *diskFile) seek(off int64, whence int) (at int64, err error) {
	err = f.use(func(fd int) (err error) {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	if errors.Is(err, unix.ENXIO) {
		return f.stamp.size, nil
	}
	return at, err
}
