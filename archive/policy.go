package archive

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// policy decides which of an entry's attributes a tree gets.
type policy struct {
	opts *ReaderOptions
	warn *warner
}

// maxXattrName is the maximum length of an extended attribute's name, in bytes;
// XATTR_NAME_MAX.
const maxXattrName = 255

// keep returns the extended attributes of h that the tree gets.
func (p *policy) keep(h *header) ([]xattr, error) {
	kept := h.xattrs[:0]
	for _, x := range h.xattrs {
		class, rest, _ := strings.Cut(x.name, ".")
		user := class+"." == userXattr
		switch {
		case rest == "" || len(x.name) > maxXattrName || strings.IndexByte(x.name, 0) >= 0:
			return nil, formatErr(h.name, "%s is no name of an extended attribute", quote(x.name))
		case user && h.kind != kindFile && h.kind != kindDir:
			// xattr(7): only files and directories have them.
			p.warn.warn(h.name, "extended attributes user.* are dropped, except those of files and directories")
		case x.name == "security.capability" && p.disowned(h):
			p.warn.warn(h.name, "file capabilities are left out where a file gets another owner")
		case user || p.opts.AllXattrs:
			kept = append(kept, x)
		default:
			p.warn.warn(h.name, fmt.Sprintf("extended attributes %s.* are left out", quote(class)))
		}
	}
	return kept, nil
}

func (p *policy) owner(h *header) fs.Owner {
	if p.opts.Owner != nil {
		return *p.opts.Owner
	}
	return h.owner
}

// suidBits grant the rights of a program's owner or group to everyone who runs it.
const suidBits = syscall.S_ISUID | syscall.S_ISGID

// disowned reports whether h gets a different owner than in the archive, who never granted it
// any rights. chown(2) clears these bits likewise; a directory keeps set-group-ID, which has
// another meaning there.
func (p *policy) disowned(h *header) bool {
	return h.kind != kindDir && p.owner(h) != h.owner
}

// mode is the permission bits that h gets.
func (p *policy) mode(h *header) uint32 {
	if h.mode&suidBits != 0 && p.disowned(h) {
		p.warn.warn(h.name, "set-user-ID and set-group-ID bits are left out where a file gets another owner")
		return h.mode &^ suidBits
	}
	return h.mode
}
