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

// StampsMappings reports whether the file system of the directory updates the times of a
// file that is written through a mapping. tmpfs, for one, does not if the page was read
// through the mapping first: it has no page_mkwrite (mm/shmem.c), so the page is mapped
// writable at once (vma_wants_writenotify). There only the content shows a change.
// StampsMappings tries it once for each file system, with a file in the directory that it
// removes afterwards.
func (d *Dir) StampsMappings(ctx context.Context) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return false, &os.PathError{Op: "fstat", Path: d.path, Err: err}
	}
	if known, ok := mappingsStamped.Load(st.Dev); ok {
		return known.(bool), nil
	}
	stamps, err := tryMapping(ctx, d.fd)
	if err == nil {
		mappingsStamped.Store(st.Dev, stamps)
	}
	return stamps, err
}

// mappingsStamped caches the answers of StampsMappings by device.
var mappingsStamped sync.Map

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
		return true, nil // nobody can write through mappings there
	}
	if page[0] == 0 { // always true; but the page must be read first
		page[0] = 1
	}
	if err := errors.Join(unix.Msync(page, unix.MS_SYNC), unix.Munmap(page), unix.Fstat(fd, &after)); err != nil {
		return false, named(name, err)
	}
	return before.Ctim != after.Ctim, nil
}

// sumSeed is fixed for this process, as are the snapshots that are compared.
var sumSeed = maphash.MakeSeed()

// sumOf returns a sum of the content of one file, without its holes. A file that may not be
// read counts as empty.
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
