package fusefs

import (
	"fmt"
	"strings"

	"github.com/workdir/workdir/fs"
)

// A tree that is the lower layer of a kernel overlay ([Options.Lower]) differs in what
// the overlay does with it:
//
//   - st_ino is the node id times [lowerSpread]. An overlay with xino=on sets one of the
//     highest bits of it, and programs that hold st_ino as a double (JavaScript) would
//     see one number for a thousand files.
//   - The overlay asks where a file has data for each MiB that it copies. Of a tree without
//     holes LSEEK is answered with ENOSYS, which the kernel remembers. It asks each entry
//     for its own extended attributes too, once. These are answered also where the tree has
//     none: after ENOSYS tools would get ENOTSUP instead of ENODATA, or of an empty list.
//   - Extended attributes named trusted.overlay.* speak to the overlay. Those of the tree
//     are shown by the overlay's own escape, trusted.overlay.overlay.*, which it shows
//     without the escape from Linux 6.7 on, and hides before.
//   - A character device 0:0 speaks to it as well, and has no escape: such a tree is
//     refused.

// lowerSpread is the distance between neighbouring inode numbers in a lower layer. With the
// bit 2^62 set, numbers that are 2^10 apart are still exact and distinct as doubles.
const lowerSpread = 1024

const (
	overlayXattrs = "trusted.overlay."
	escapedXattrs = overlayXattrs + "overlay."
)

// refusedBy returns the operations that a lower layer with such traits does not need, or an
// error if the tree cannot be one.
func refusedBy(lower *fs.Traits) ([]op, error) {
	if lower.Whiteout != "" {
		return nil, fmt.Errorf("%q is a device 0:0, which an overlay takes for a file that was removed", lower.Whiteout)
	}
	var ops []op
	if !lower.Sparse {
		ops = append(ops, opLseek)
	}
	return ops, nil
}

// shownIno returns the inode number as the kernel sees it.
func (s *server) shownIno(ino uint64) uint64 {
	if s.lower {
		return ino * lowerSpread
	}
	return ino
}

// shownXattr returns the name of an extended attribute as the kernel sees it.
func (s *server) shownXattr(name string) string {
	if rest, ok := strings.CutPrefix(name, overlayXattrs); ok && s.lower {
		return escapedXattrs + rest
	}
	return name
}

// storedXattr returns the name in the tree of an extended attribute that the kernel asks
// for; ok is false for one of the overlay's own, which no tree has.
func (s *server) storedXattr(name string) (stored string, ok bool) {
	if !s.lower || !strings.HasPrefix(name, overlayXattrs) {
		return name, true
	}
	rest, ok := strings.CutPrefix(name, escapedXattrs)
	return overlayXattrs + rest, ok
}
