package workspace

import (
	"sync/atomic"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// nowhere is a home that discards content. A tree in it has all names and attributes, and an
// archive loaded into it is checked to its last byte.
type nowhere struct{}

// NewFile implements fs.Home, as do the next three.
func (nowhere) NewFile() (fs.File, error)              { return &nothing{}, nil }
func (nowhere) StatFS() (total, free int64, err error) { return 0, 0, nil }
func (nowhere) Resize(int64) error                     { return nil }
func (nowhere) Close() error                           { return nil }

// nothing is a file that keeps only its size.
type nothing struct{ size atomic.Int64 }

// ReadAt returns EIO: the content was discarded.
func (*nothing) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// WriteAt implements fs.File, as does what follows.
func (f *nothing) WriteAt(p []byte, off int64) (int, error) {
	f.size.Store(max(f.size.Load(), off+int64(len(p))))
	return len(p), nil
}

func (f *nothing) Truncate(size int64) error  { f.size.Store(size); return nil }
func (f *nothing) Size() (int64, error)       { return f.size.Load(), nil }
func (*nothing) PunchHole(int64, int64) error { return nil }
func (*nothing) Allocate(int64, int64) error  { return nil }
func (*nothing) Used() (int64, error)         { return 0, nil }
func (*nothing) Close() error                 { return nil }

func (f *nothing) SeekData(off int64) (int64, error) {
	if off >= f.size.Load() {
		return 0, syscall.ENXIO
	}
	return off, nil
}

func (f *nothing) SeekHole(off int64) (int64, error) {
	if off >= f.size.Load() {
		return 0, syscall.ENXIO
	}
	return f.size.Load(), nil
}
