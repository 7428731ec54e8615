package fs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spillHome keeps files in memory as long as they fit, and moves the others to a directory
// on disk.
type spillHome struct {
	memory Home       // immutable; may be shared with other users
	disk   *spillDisk // immutable
	dir    string     // immutable; contains the files on disk
	lock   *os.File   // immutable; its flock shows that this process is alive
}

// NewSpillHome makes a home whose files are in memory until memory is full, and from then
// on in a directory of their own within dir. memory stays the caller's, who closes it after
// the home. Directories that killed processes left in dir are removed.
//
// reserve is how many bytes of the disk stay free, for others and for the commit. 0 means a
// twentieth of the disk, but at least 256 MiB, or a quarter of a disk of less than 1 GiB; a
// negative value means nothing.
func NewSpillHome(memory Home, dir string, reserve int64) (Home, error) {
	h, err := newSpillHome(memory, dir, reserve)
	if err != nil {
		return nil, fmt.Errorf("make spill directory in %s: %w", dir, err)
	}
	return h, nil
}

func newSpillHome(memory Home, dir string, reserve int64) (*spillHome, error) {
	RemoveLeftSpills(dir)
	own, lock, err := makeSpillDir(dir)
	if err != nil {
		return nil, err
	}
	root, err := unix.Open(own, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		lock.Close()
		os.RemoveAll(own) // the first error counts
		return nil, err
	}
	disk := &spillDisk{tmpfsHome: &tmpfsHome{cached: descriptors}, reserve: reserve}
	disk.root.Store(int64(root))
	return &spillHome{memory: memory, disk: disk, dir: own, lock: lock}, nil
}

// NewFile makes an empty file in memory or, if there is no room even for its inode, on
// disk.
func (h *spillHome) NewFile() (File, error) {
	f, err := h.memory.NewFile()
	if !errors.Is(err, syscall.ENOSPC) {
		if err != nil {
			return nil, err
		}
		return &spillFile{home: h, now: f}, nil
	}
	onDisk, err := h.disk.newFile()
	if err != nil {
		return nil, err
	}
	return &spillFile{home: h, now: onDisk, spilled: true}, nil
}

// StatFS returns the sums for memory and disk.
func (h *spillHome) StatFS() (total, free int64, err error) {
	total, free, err = h.memory.StatFS()
	if err != nil || total == 0 {
		return total, free, err
	}
	more, moreFree, err := h.disk.StatFS()
	return total + more, free + moreFree, err
}

// Resize sets the limit of the memory; files beyond it go to disk.
func (h *spillHome) Resize(size int64) error { return h.memory.Resize(size) }

// Close removes the directory on disk.
func (h *spillHome) Close() error {
	err := h.disk.Close()
	h.lock.Close() // first: NFS keeps open files in the directory
	return firstError(err, os.RemoveAll(h.dir))
}

// spillFile is a file that may move from memory to disk, once.
type spillFile struct {
	home *spillHome // immutable

	mu      sync.RWMutex // held for writing while the file moves
	now     File         // guarded by mu
	spilled bool         // guarded by mu
}

// use calls fn with the file as it is now.
func (f *spillFile) use(fn func(File) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return fn(f.now)
}

// grow calls fn, which needs room, and once more on disk if memory is full.
func (f *spillFile) grow(fn func(File) error) error {
	err := f.use(fn)
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if err := f.spill(); err != nil {
		return err
	}
	return f.use(fn)
}

// spill moves the file to disk. ENOSPC if it is already there, or does not fit.
func (f *spillFile) spill() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spilled {
		return syscall.ENOSPC
	}
	size, err := f.now.Used()
	if err != nil {
		return err
	}
	if err := f.home.disk.claim(size); err != nil {
		return err
	}
	defer f.home.disk.release(size)
	to, err := f.home.disk.newFile()
	if err != nil {
		return err
	}
	if err := copyFile(to.File, f.now); err != nil {
		_ = to.Close() // the first error counts
		return err
	}
	from := f.now
	f.now, f.spilled = to, true
	return from.Close()
}

// copyFile copies the data and the size of a file; holes stay holes.
func copyFile(to, from File) error {
	buf := chunkBuffers.Get().(*[chunkSize]byte)
	defer chunkBuffers.Put(buf)
	size, err := from.Size()
	if err != nil {
		return err
	}
	for r, err := range dataIn(from, 0, size) {
		if err != nil {
			return err
		}
		for pos := r.begin; pos < r.end; {
			part := buf[:min(chunkSize, r.end-pos)]
			if err := readAll(from, part, pos); err != nil {
				return err
			}
			if _, err := to.WriteAt(part, pos); err != nil {
				return err
			}
			pos += int64(len(part))
		}
	}
	return to.Truncate(size)
}

func (f *spillFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.use(func(now File) (err error) { n, err = now.ReadAt(p, off); return err })
	return n, err
}

func (f *spillFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.grow(func(now File) (err error) { n, err = now.WriteAt(p, off); return err })
	return n, err
}

func (f *spillFile) Truncate(size int64) error {
	return f.use(func(now File) error { return now.Truncate(size) })
}

func (f *spillFile) PunchHole(off, length int64) error {
	return f.use(func(now File) error { return now.PunchHole(off, length) })
}

func (f *spillFile) Allocate(off, length int64) error {
	return f.grow(func(now File) error { return now.Allocate(off, length) })
}

func (f *spillFile) SeekData(off int64) (pos int64, err error) {
	err = f.use(func(now File) (err error) { pos, err = now.SeekData(off); return err })
	return pos, err
}

func (f *spillFile) SeekHole(off int64) (pos int64, err error) {
	err = f.use(func(now File) (err error) { pos, err = now.SeekHole(off); return err })
	return pos, err
}

func (f *spillFile) Used() (used int64, err error) {
	err = f.use(func(now File) (err error) { used, err = now.Used(); return err })
	return used, err
}

func (f *spillFile) Size() (size int64, err error) {
	err = f.use(func(now File) (err error) { size, err = now.Size(); return err })
	return size, err
}

func (f *spillFile) Close() error { return f.use(File.Close) }
