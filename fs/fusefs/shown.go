package fusefs

import (
	"math"
	"sync/atomic"
)

// shown remembers of which nodes the kernel was told attributes, and has not been
// told since that they are old.
//
// After an operation that changes a directory the kernel drops the attributes that
// it has of it, but does not number that (fs/fuse/dir.c, fuse_dir_changed): an
// answer to somebody else's LOOKUP or GETATTR that was on its way meanwhile is
// taken for new, and kept for as long as we allow, which is for ever. The same
// holds for a FALLOCATE that keeps the size (fs/fuse/file.c). A notice is numbered
// (fuse_reverse_inval_inode): given between the change and its answer, it makes
// the kernel refuse what was said before the change.
//
// A mark is the number of the node that it is for. Nodes share one with those whose
// number falls on the same one: it then says several, and stays, which costs a notice
// too many, at times. The zero value is ready for use.
type shown [4096]atomic.Uint64

const several = math.MaxUint64

func (h *shown) mark(node uint64) *atomic.Uint64 { return &h[node%uint64(len(h))] }

// set notes a node.
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

// take tells whether a node may have been noted since the last take.
func (h *shown) take(node uint64) bool {
	mark := h.mark(node)
	switch mark.Load() {
	case several:
		return true
	case node:
		mark.CompareAndSwap(node, 0) // fails where it has become several, or was taken
		return true
	}
	return false
}

// shows notes that the kernel is about to be told attributes of a node, before they
// are looked up.
func (s *server) shows(node uint64) { s.shown.set(node) }

// changed makes the kernel refuse what it was told of nodes before they were
// changed. It is called before the change is answered, without locks.
func (s *server) changed(nodes ...uint64) {
	for _, node := range nodes {
		if s.shown.take(node) {
			s.kernel.InodeNotify(node, -1, 0) // drops attributes alone; fails where there are none
		}
	}
}
