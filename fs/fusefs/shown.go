package fusefs

import (
	"math"
	"sync/atomic"
)

// shown remembers for which nodes the kernel was told attributes, and has not been told
// since that they are stale.
//
// After an operation that changes a directory, the kernel drops the attributes of the
// directory, but does not count that as a change (fs/fuse/dir.c, fuse_dir_changed): if an
// answer to another LOOKUP or GETATTR was on its way meanwhile, the kernel takes it for new
// and keeps it as long as we allow, which is forever. The same is true of a FALLOCATE that
// keeps the size (fs/fuse/file.c). A notice counts (fuse_reverse_inval_inode): sent between
// the change and its answer, it makes the kernel refuse attributes from before the change.
//
// A mark is the number of its node. Nodes whose numbers fall on the same mark share it: it
// then stands for several and stays, which sometimes costs an unnecessary notice. The zero
// value is ready for use.
type shown [4096]atomic.Uint64

const several = math.MaxUint64

func (h *shown) mark(node uint64) *atomic.Uint64 { return &h[node%uint64(len(h))] }

// set marks a node.
func (h *shown) set(node uint64) {
	mark := h.mark(node)
	for {
		switch old := mark.Load(); old {
		case node, several:
			return
		case 0:
			if mark.CompareAndSwap(0, node) {
				return
			}
		default:
			if mark.CompareAndSwap(old, several) {
				return
			}
		}
	}
}

// take reports whether a node may have been marked since the last take.
func (h *shown) take(node uint64) bool {
	mark := h.mark(node)
	switch mark.Load() {
	case several:
		return true
	case node:
		mark.CompareAndSwap(node, 0) // fails if it stands for several now, or was taken
		return true
	}
	return false
}

// shows records that the kernel is about to be told attributes of a node. It is called
// before they are looked up.
func (s *server) shows(node uint64) { s.shown.set(node) }

// changed makes the kernel refuse attributes that it was told of nodes before they were
// changed. It is called before the change is answered, without locks.
func (s *server) changed(nodes ...uint64) {
	for _, node := range nodes {
		if s.shown.take(node) {
			s.kernel.InodeNotify(node, -1, 0) // drops only attributes; fails if there are none
		}
	}
}
