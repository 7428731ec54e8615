package fs

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// What a spill home leaves free of its disk by default: a share of the disk, but at least
// the least, and at most a part of a small disk.
const (
	reserveShare = 20        // 1/20 of the disk
	reserveLeast = 256 << 20 // bytes
	reserveMost  = 4         // 1/4 of the disk
)

// spillDisk is the directory on disk to which files of a spill home move. It leaves a part
// of the disk free, which is often the store's disk too, or the system's: space is claimed
// first, until the disk itself counts it as taken.
type spillDisk struct {
	*tmpfsHome              // immutable; has the files of the directory
	reserve    int64        // bytes, see NewSpillHome; immutable
	claiming   sync.Mutex   // held during a claim; a leaf
	claimed    atomic.Int64 // bytes that are being written; grows under claiming
}

// keepsFree returns how many of total bytes stay free.
func (d *spillDisk) keepsFree(total int64) int64 {
	switch {
	case d.reserve < 0:
		return 0
	case d.reserve > 0:
		return d.reserve
	}
	return reserveOf(total)
}

// Spare returns how many more bytes the disk of f takes if as much stays free as spill
// homes leave by default.
func Spare(f *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := eintr.Retry(func() error { return unix.Fstatfs(int(f.Fd()), &st) }); err != nil {
		return 0, err
	}
	total, free := int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	return max(0, free-reserveOf(total)), nil
}

// reserveOf returns how many of total bytes stay free by default.
func reserveOf(total int64) int64 {
	return min(max(total/reserveShare, reserveLeast), total/reserveMost)
}

// StatFS does not count what stays free.
func (d *spillDisk) StatFS() (total, free int64, err error) {
	total, free, err = d.tmpfsHome.StatFS()
	return total, max(0, free-d.keepsFree(total)), err
}

// claim claims size bytes: ENOSPC. The caller releases them once they are written.
//
// It reads what is claimed before what is free, so that a write that ends in between counts
// twice rather than not at all.
func (d *spillDisk) claim(size int64) error {
	d.claiming.Lock()
	defer d.claiming.Unlock()
	claimed := d.claimed.Load()
	_, free, err := d.StatFS()
	switch {
	case err != nil:
		return err
	case size > free-claimed:
		return syscall.ENOSPC
	}
	d.claimed.Add(size)
	return nil
}

func (d *spillDisk) release(size int64) { d.claimed.Add(-size) }

func (d *spillDisk) newFile() (*diskFile, error) {
	f, err := d.tmpfsHome.NewFile()
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d}, nil
}

// diskFile is a file on a spillDisk.
type diskFile struct {
	File
	disk *spillDisk // immutable
}

// WriteAt may overwrite allocated bytes even if no more space can be taken.
func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.taking(off, int64(len(p)), func() (err error) { n, err = f.File.WriteAt(p, off); return err })
	return n, err
}

func (f *diskFile) Allocate(off, length int64) error {
	return f.taking(off, length, func() error { return f.File.Allocate(off, length) })
}

// taking calls write, which takes at most length bytes of the disk, for the bytes at off.
func (f *diskFile) taking(off, length int64, write func() error) error {
	err := f.disk.claim(length)
	if err == nil {
		defer f.disk.release(length)
		return write()
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if hole, herr := f.SeekHole(off); herr != nil || hole-off < length {
		return err
	}
	return write()
}
