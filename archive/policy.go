package archive

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// policy says what of an entry's attributes a tree is to have.
type policy struct {
	opts *ReaderOptions
	warn *warner
}

// maxXattrName is how long the name of an extended attribute can be, in bytes;
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
			p.warn.warn(h.name, "extended attributes user.* of what is neither file nor directory are left out")
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

// suidBits lend the rights of a program's owner or group to all who run it.
const suidBits = syscall.S_ISUID | syscall.S_ISGID

// disowned reports whether h is to have another owner than the archive says, who never
// lent it any rights. chown(2) takes these away likewise; a directory keeps set-group-ID,
// which says something else there.
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
