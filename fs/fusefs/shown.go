package fusefs

import "sync/atomic"

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
// Nodes share a mark with those whose number falls on the same one: that costs a
// notice too many, at times. The zero value is ready for use.
type shown [1024]atomic.Bool

func (h *shown) mark(node uint64) *atomic.Bool { return &h[node%uint64(len(h))] }

// shows notes that the kernel is about to be told attributes of a node, before they
// are looked up.
func (s *server) shows(node uint64) {
	if mark := s.shown.mark(node); !mark.Load() {
		mark.Store(true)
	}
}

// changed makes the kernel refuse what it was told of nodes before they were
// changed. It is called before the change is answered, without locks.
func (s *server) changed(nodes ...uint64) {
	for _, node := range nodes {
		if mark := s.shown.mark(node); mark.Load() && mark.Swap(false) {
			s.kernel.InodeNotify(node, -1, 0) // drops attributes alone; fails where there are none
		}
	}
}
