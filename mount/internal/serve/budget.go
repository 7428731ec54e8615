package serve

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/wire"
)

// budget is the memory that all mounts of a server may take: total for content, and
// heap for names and the like. A mount with a limit of its own has that much of total
// set aside, in a home of its own; the others share a home of what is left. The kernel
// keeps the size of each, so that the sum holds though it writes without asking us.
type budget struct {
	total int64    // bytes; immutable
	heap  *fs.Heap // immutable

	mu     sync.Mutex
	aside  int64   // bytes; guarded by mu
	ahead  int64   // bytes that are left for what is fetched ahead; guarded by mu
	shared fs.Home // guarded by mu; nil before the first mount that needs it
	names  int64   // of the lower layers of overlays that write to shared; guarded by mu
}

// limit sets the budget of a server that may use so many bytes of memory. Half is for
// content that was written. An eighth is for names, attributes and links, of which the
// garbage collector needs as much again. A sixteenth is for what was fetched of archives
// ahead of their readers, and half as much, which the garbage collector doubles, for
// what was read. The rest is for the process itself.
func (b *budget) limit(memory int64) {
	b.total = memory / 2
	b.heap = fs.NewHeap(b.total / 4)
	b.ahead = memory / 16
}

// leastCache and mostCache bound the cache of what was read, in bytes. The kernel keeps
// what tools read, so that a larger one helps little.
const (
	leastCache = 8 << 20
	mostCache  = 256 << 20
)

// cacheBytes is how much of what was read is kept.
func (b *budget) cacheBytes() int64 { return max(leastCache, min(mostCache, b.total/16)) }

// takeAhead sets aside up to n bytes for what is fetched ahead, and returns how many.
func (b *budget) takeAhead(n int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.ahead)
	b.ahead -= n
	return n
}

func (b *budget) giveAhead(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead += n
}

// archiveLimits are the limits of an archive that is read, as far as they follow from
// the memory. An archive that holds every name several times still fits.
func (b *budget) archiveLimits() *archive.Limits {
	const repeated, extent = 4, 64 // extent: bytes of heap for one of a sparse file, while it is read
	d := archive.DefaultLimits()
	heap := b.total / 4
	return &archive.Limits{
		MetaBytes:     max(1, min(d.MetaBytes, repeated*heap)),
		SparseExtents: max(1, min(d.SparseExtents, heap/extent)),
	}
}

// leastShared is what the shared home keeps at least, in bytes: a tmpfs of none is
// one without a limit.
const leastShared = 64 << 10

// sharedHome gives the home of the mounts without a limit of their own.
func (b *budget) sharedHome() (fs.Home, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shared != nil {
		return b.shared, nil
	}
	home, err := newHome(max(b.total-b.aside, leastShared))
	if err == nil {
		b.shared = home
	}
	return home, err
}

// ownHome gives a home of size bytes, which are set aside until it is closed.
// ErrLimit where they are not there.
func (b *budget) ownHome(size int64) (fs.Home, error) {
	if err := b.setAside(size); err != nil {
		return nil, err
	}
	home, err := newHome(size)
	if err != nil {
		b.giveBack(size)
		return nil, err
	}
	return &ownedHome{Home: home, size: size, giveBack: func() { b.giveBack(size) }}, nil
}

func (b *budget) setAside(size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.total - b.aside - size
	if left >= 0 && b.shared != nil && b.shared.Resize(max(left, leastShared)) != nil {
		left = -1 // the others use it
	}
	if left < 0 {
		return fmt.Errorf("%w: MaxBytes (--max-bytes) of %d is more than what is left of the %d bytes for all mounts of this server, which are half of the memory limit; ask for less, or close other mounts", wire.ErrLimit, size, b.total)
	}
	b.aside += size
	return nil
}

func (b *budget) giveBack(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aside -= size
	if b.shared != nil {
		_ = b.shared.Resize(max(b.total-b.aside, leastShared)) // to grow never fails
	}
}

// ownedHome is a home that was set aside.
type ownedHome struct {
	fs.Home
	size     int64 // bytes
	giveBack func()
}

// innerHome is the home that keeps the content.
func innerHome(home fs.Home) fs.Home {
	if owned, ok := home.(*ownedHome); ok {
		return owned.Home
	}
	return home
}

// Close frees the home, and gives its size back.
func (h *ownedHome) Close() error {
	err := h.Home.Close()
	h.giveBack()
	return err
}

// newHome makes a home for content: a detached tmpfs where that is allowed, else
// an arena.
func newHome(size int64) (fs.Home, error) {
	home, err := fs.NewTmpfsHome(size, filesIn(size))
	if err == nil {
		return home, nil
	}
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSYS) {
		return nil, fmt.Errorf("make a tmpfs of %d bytes: %w", size, err)
	}
	return fs.NewArenaHome(size)
}

// TryHome makes a home for content and drops it, and reports whether it was a tmpfs.
func TryHome() (tmpfs bool, err error) {
	const size = 1 << 20
	home, err := fs.NewTmpfsHome(size, 0)
	if tmpfs = err == nil; !tmpfs {
		home, err = newHome(size)
	}
	if err == nil {
		_ = home.Close() // nothing is in it
	}
	return tmpfs, err
}

// filesIn is how many backing files a home of size bytes may have. Each takes a
// kilobyte of the kernel's memory, which counts as ours, and at least a page of the
// home unless it is empty.
func filesIn(size int64) int64 { return size/(2<<10) + 1<<10 }

// roomFor lets a home have a mark for each of so many names of an overlay's lower layer,
// beside its files: what is removed there takes an inode of the home. Close ends that.
func (b *budget) roomFor(home fs.Home, names int64) (io.Closer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch h := home.(type) {
	case *ownedHome:
		return nothing{}, fs.SetInodes(h.Home, filesIn(h.size)+names)
	default:
		if home != b.shared {
			return nothing{}, nil // a disk, which has a limit of its own
		}
	}
	b.names += names
	return &nameRoom{b, names}, fs.SetInodes(b.shared, filesIn(b.total)+b.names)
}

// nothing needs no closing.
type nothing struct{}

func (nothing) Close() error { return nil }

// nameRoom is room for marks in the shared home.
type nameRoom struct {
	budget *budget
	names  int64
}

// Close gives the room back.
func (r *nameRoom) Close() error {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	r.budget.names -= r.names
	_ = fs.SetInodes(r.budget.shared, filesIn(r.budget.total)+r.budget.names) // it is too many where others use them, until they end
	return nil
}
