package fs

import "iter"

// KnownFiles iterates over the numbers of the regular files that are referenced or were
// changed. A file that becomes one of them, or ceases to be one, during the iteration may
// or may not appear.
func (t *Tree) KnownFiles() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for n := range t.inodes.all() {
			if n.isRegular() && !yield(n.ino) {
				return
			}
		}
	}
}
