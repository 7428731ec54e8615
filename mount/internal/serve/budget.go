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

// budget is the memory that all mounts of a server may take: total for content, and heap
// for names and the like. A mount with a limit of its own has that much of total reserved,
// in a home of its own; the others share a home of the rest. The kernel enforces the size
// of each home, so that the sum holds even though it writes without asking us.
type budget struct {
	total int64    // bytes; immutable
	heap  *fs.Heap // immutable

	mu     sync.Mutex
	aside  int64   // bytes; guarded by mu
	ahead  int64   // bytes left for fetching ahead; guarded by mu
	shared fs.Home // guarded by mu; nil before the first mount that needs it
	names  int64   // names in the lower layers of overlays that write to shared; guarded by mu
}

// limit sets the budget of a server that may use that many bytes of memory. Half is for
// content that was written. An eighth is for names, attributes and links, for which the
// garbage collector needs as much again. A sixteenth is for parts of archives that were
// fetched ahead of their readers, and half as much, which the garbage collector doubles,
// for content that was read. The rest is for the process itself.
func (b *budget) limit(memory int64) {
	b.total = memory / 2
	b.heap = fs.NewHeap(b.total / 4)
	b.ahead = memory / 16
}

// leastCache and mostCache limit the cache of content that was read, in bytes. The kernel
// also caches what tools read, so a larger one helps little.
const (
	leastCache = 8 << 20
	mostCache  = 256 << 20
)

// cacheBytes returns how much content that was read is kept.
func (b *budget) cacheBytes() int64 { return max(leastCache, min(mostCache, b.total/16)) }

// takeAhead reserves up to n bytes for fetching ahead, and returns how many.
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

// archiveLimits returns the limits for an archive that follow from the memory. An archive
// that has every name several times still fits.
func (b *budget) archiveLimits() *archive.Limits {
	const repeated, extent = 4, 64 // extent: bytes of heap for an extent of a sparse file, while it is read
	d := archive.DefaultLimits()
	heap := b.total / 4
	return &archive.Limits{
		MetaBytes:     max(1, min(d.MetaBytes, repeated*heap)),
		SparseExtents: max(1, min(d.SparseExtents, heap/extent)),
	}
}

// leastShared is the least size of the shared home, in bytes: a tmpfs of size 0 has no
// limit.
const leastShared = 64 << 10

// sharedHome returns the home of the mounts without a limit of their own.
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

// ownHome returns a home of size bytes, which are reserved until it is closed. ErrLimit if
// they are not available.
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
		left = -1 // the others are using it
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
		_ = b.shared.Resize(max(b.total-b.aside, leastShared)) // growing never fails
	}
}

// ownedHome is a home with reserved memory.
type ownedHome struct {
	fs.Home
	size     int64 // bytes
	giveBack func()
}

// innerHome is the home that holds the content.
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

// newHome makes a home for content: a detached tmpfs if that is allowed, otherwise an
// arena.
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

// filesIn returns how many backing files a home of size bytes may have. Each takes a
// kilobyte of the kernel's memory, which counts as ours, and at least a page of the home
// unless it is empty.
func filesIn(size int64) int64 { return size/(2<<10) + 1<<10 }

// roomFor makes room in a home for a whiteout for each of the given number of names of an
// overlay's lower layer: removing one of them takes an inode of the home. Close ends that.
func (b *budget) roomFor(home fs.Home, names int64) (io.Closer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch h := home.(type) {
	case *ownedHome:
		return nothing{}, fs.SetInodes(h.Home, filesIn(h.size)+names)
	default:
		if home != b.shared {
			return nothing{}, nil // a disk has a limit of its own
		}
	}
	b.names += names
	return &nameRoom{b, names}, fs.SetInodes(b.shared, filesIn(b.total)+b.names)
}

// nothing is an io.Closer without effect.
type nothing struct{}

func (nothing) Close() error { return nil }

// nameRoom is room for whiteouts in the shared home.
type nameRoom struct {
	budget *budget
	names  int64
}

// Close gives the room back.
func (r *nameRoom) Close() error {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	r.budget.names -= r.names
	_ = fs.SetInodes(r.budget.shared, filesIn(r.budget.total)+r.budget.names) // too many if others use them; they stay until those end
	return nil
}
