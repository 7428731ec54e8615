package serve

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
)

// aheadFile keeps the compressed parts of an archive that were fetched. It has no name, so
// that it disappears with the process, however that ends.
type aheadFile struct {
	budget *budget // gets size back; nil for a file on disk
	file   aheadContent
	size   int64 // limit, reserved in budget; 0: no limit
}

type aheadContent interface {
	archive.Packed
	Close() error
}

// newAheadFile makes a file in memory.
func (b *budget) newAheadFile(size int64) *aheadFile {
	size = b.takeAhead(size)
	if size == 0 {
		return nil
	}
	fd, err := unix.MemfdCreate("workdir-base", unix.MFD_CLOEXEC)
	if err != nil {
		b.giveAhead(size)
		return nil
	}
	return &aheadFile{b, os.NewFile(uintptr(fd), "base"), size}
}

func (a *aheadFile) close() {
	if a == nil {
		return
	}
	_ = a.file.Close() // nobody needs it any more
	if a.budget != nil {
		a.budget.giveAhead(a.size)
	}
}

// cacheFile is a file without a name on a disk; a part of the disk stays free.
type cacheFile struct{ *os.File }

// newCacheFile makes a file in dir. If the file system has no O_TMPFILE (NFS), the file has
// a name for a moment.
func newCacheFile(dir string) (cacheFile, error) {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return cacheFile{f}, err
	}
	if f, err = os.CreateTemp(dir, ".workdir-cache-"); err != nil {
		return cacheFile{}, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return cacheFile{}, err
	}
	return cacheFile{f}, nil
}

// WriteAt also returns ENOSPC if less of the disk would stay free than a spill directory
// leaves.
func (f cacheFile) WriteAt(p []byte, off int64) (int, error) {
	spare, err := fs.Spare(f.File)
	if err != nil {
		return 0, err
	}
	if spare < int64(len(p)) {
		return 0, unix.ENOSPC
	}
	return f.File.WriteAt(p, off)
}
