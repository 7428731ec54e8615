package fs

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// slotSize is the unit, in bytes, in which an arena assigns addresses. Memory is taken by
// the page; a slot that is partly used wastes only addresses, and there are 2^32 slots.
const slotSize = 64 << 10

// arenaHome uses one memory file as a sparse address space of slots, for hosts where no
// file system can be mounted. Pages in use are counted; a slot that is freed is punched
// out, so that every slot starts as zeros.
type arenaHome struct {
	fd int // the memory file; immutable

	max atomic.Int64 // pages; changes under mu

	mu   sync.Mutex // taken below arenaFile.mu
	used int64      // pages; guarded by mu
	free []uint32   // slots to use again; guarded by mu
	next uint32     // the first slot never used; guarded by mu
	gone bool       // guarded by mu
}

// NewArenaHome makes a home in one memfd of at most size bytes, in whole pages
// (0: half of the machine's memory, which is the kernel's default for a tmpfs).
func NewArenaHome(size int64) (Home, error) {
	if size <= 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return nil, fmt.Errorf("make arena: read size of memory: %w", err)
		}
		size = int64(info.Totalram) * int64(info.Unit) / 2
	}
	fd, err := unix.MemfdCreate("workdir-arena", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make arena: %w", err)
	}
	h := &arenaHome{fd: fd}
	h.max.Store(size / pageSize)
	return h, nil
}

// NewFile makes an empty file.
func (h *arenaHome) NewFile() (File, error) { return &arenaFile{home: h}, nil }

// StatFS returns the limit and what is free of it, in bytes.
func (h *arenaHome) StatFS() (total, free int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.max.Load() * pageSize, (h.max.Load() - h.used) * pageSize, nil
}

// Resize sets the limit.
func (h *arenaHome) Resize(size int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if size/pageSize < h.used {
		return syscall.ENOSPC
	}
	h.max.Store(size / pageSize)
	return nil
}

// Close frees the memory. EBADF if it is already closed.
func (h *arenaHome) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return syscall.EBADF
	}
	h.gone = true
	return unix.Close(h.fd)
}

// take counts pages and assigns slots, both or neither: ENOSPC. Slots that were never used
// are contiguous, so that a file that is written in order lies in order.
func (h *arenaHome) take(pages int64, slots int) ([]uint32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.gone:
		return nil, syscall.EBADF
	case pages > h.max.Load()-h.used || int64(slots) > int64(len(h.free))+int64(^uint32(0)-h.next):
		return nil, syscall.ENOSPC
	}
	h.used += pages
	if slots == 0 {
		return nil, nil
	}
	got := make([]uint32, slots)
	for i := range got {
		if last := len(h.free) - 1; last >= 0 {
			got[i], h.free = h.free[last], h.free[:last]
			continue
		}
		got[i] = h.next
		h.next++
	}
	return got, nil
}

// give returns pages that were counted, and slots, which are punched out first. A slot that
// cannot be punched out is never used again.
func (h *arenaHome) give(pages int64, slots []uint32) error {
	slices.Sort(slots)
	slices.Reverse(slots) // so that take assigns them in order again
	err := h.punchSlots(slots)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used -= pages
	if err == nil {
		h.free = append(h.free, slots...)
	}
	return err
}

// punchSlots punches out slots, in descending order, with one call for each contiguous run.
func (h *arenaHome) punchSlots(slots []uint32) error {
	for len(slots) > 0 {
		run := 1
		for run < len(slots) && slots[run] == slots[run-1]-1 {
			run++
		}
		if err := h.punch(int64(slots[run-1])*slotSize, int64(run)*slotSize); err != nil {
			return err
		}
		slots = slots[run:]
	}
	return nil
}

// punch makes a range of the memory file zeros. The kernel frees the pages that lie wholly
// in it.
func (h *arenaHome) punch(off, length int64) error {
	return eintr.Retry(func() error {
		return unix.Fallocate(h.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
}
