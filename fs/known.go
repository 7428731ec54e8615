package fs

import "iter"

// KnownFiles goes through the numbers of the regular files that somebody refers to or that were
// changed. One that comes or goes meanwhile may be among them or not.
func (t *Tree) KnownFiles() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for n := range t.inodes.all() {
			if n.isRegular() && !yield(n.ino) {
				return
			}
		}
	}
}
