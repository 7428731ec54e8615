package fsdir

import (
	"context"
	"errors"
	"hash/maphash"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// TellsOfMappings tells whether the file system of the directory sets the times of a
// file that is written through a mapping. tmpfs, for one, does not where the page was
// read through it before (no page_mkwrite in mm/shmem.c, so that a page is mapped
// writable at once, vma_wants_writenotify): there only the content tells.
// It tries, with a file in the directory that is gone afterwards, once for each file
// system.
func (d *Dir) TellsOfMappings(ctx context.Context) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return false, &os.PathError{Op: "fstat", Path: d.path, Err: err}
	}
	if known, ok := mappingsTold.Load(st.Dev); ok {
		return known.(bool), nil
	}
	tells, err := tryMapping(ctx, d.fd)
	if err == nil {
		mappingsTold.Store(st.Dev, tells)
	}
	return tells, err
}

// mappingsTold holds answers of TellsOfMappings by device.
var mappingsTold sync.Map

func tryMapping(ctx context.Context, dir int) (bool, error) {
	const name, size = ".workdir-trial", 1
	fd, err := openAt(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return false, named(name, err)
	}
	defer unix.Close(fd)
	err = errors.Join(unix.Unlinkat(dir, name, 0), eintr.Retry(func() error { return unix.Ftruncate(fd, size) }))
	if err != nil {
		return false, named(name, err)
	}
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return false, named(name, err)
	}
	if err := settle(ctx, unix.StatxTimestamp{Sec: before.Ctim.Sec, Nsec: uint32(before.Ctim.Nsec)}); err != nil {
		return false, err
	}
	page, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return true, nil // nobody writes through mappings there
	}
	if page[0] == 0 { // as it is; the page must be read first
		page[0] = 1
	}
	if err := errors.Join(unix.Msync(page, unix.MS_SYNC), unix.Munmap(page), unix.Fstat(fd, &after)); err != nil {
		return false, named(name, err)
	}
	return before.Ctim != after.Ctim, nil
}

// sumSeed is of this process, as are the snapshots that are compared.
var sumSeed = maphash.MakeSeed()

// sumOf sums up the content of one file, holes left out. One that may not be read is
// of no content.
func (s *Snapshot) sumOf(ctx context.Context, dir int, name string, size int64) (uint64, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EACCES) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	h := maphash.Hash{}
	h.SetSeed(sumSeed)
	buf := make([]byte, readSize)
	for off := int64(0); off < size; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if off, err = unix.Seek(fd, off, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			break
		} else if err != nil {
			return 0, err
		}
		n := 0
		if err := eintr.Retry(func() (err error) { n, err = unix.Pread(fd, buf, off); return err }); err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		maphash.WriteComparable(&h, off)
		_, _ = h.Write(buf[:n]) // never fails
		off += int64(n)
	}
	return h.Sum64(), nil
}
