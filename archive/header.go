package archive

import (
	"syscall"

	"github.com/workdir/workdir/fs"
)

// kind is the type of an entry.
type kind byte

// The kinds, by the typeflag that we write.
const (
	kindFile    kind = '0'
	kindLink    kind = '1' // a hard link to an earlier file
	kindSymlink kind = '2'
	kindChar    kind = '3'
	kindBlock   kind = '4'
	kindDir     kind = '5'
	kindFIFO    kind = '6'
)

// header is one entry of a tar.
type header struct {
	name  string // as in the archive when read; a clean path when written
	kind  kind
	mode  uint32 // permission bits, suid, sgid and sticky
	owner fs.Owner
	size  int64 // of a file's content, holes included
	mtime fs.Time
	link  string // target of a hard or symbolic link
	rdev  uint32 // of a device node, as the kernel packs it
	// xattrs are sorted by name when written.
	xattrs []xattr
	// sparse is nil, or the extents that hold all of a file's data.
	sparse []fs.Extent
	// holes reports that sparse is valid, though it may be empty.
	holes bool
}

// xattr is one extended attribute.
type xattr struct {
	name  string
	value []byte
}

const maxNsec = 999_999_999

// format returns the S_IFMT bits of k; 0 for a hard link.
func (k kind) format() uint32 {
	switch k {
	case kindFile:
		return syscall.S_IFREG
	case kindSymlink:
		return syscall.S_IFLNK
	case kindChar:
		return syscall.S_IFCHR
	case kindBlock:
		return syscall.S_IFBLK
	case kindDir:
		return syscall.S_IFDIR
	case kindFIFO:
		return syscall.S_IFIFO
	}
	return 0
}

// kindOf is the inverse of format. ok is false for a socket.
func kindOf(mode uint32) (k kind, ok bool) {
	for _, k := range []kind{kindFile, kindDir, kindSymlink, kindFIFO, kindChar, kindBlock} {
		if k.format() == mode&syscall.S_IFMT {
			return k, true
		}
	}
	return 0, false
}

func (k kind) device() bool { return k == kindChar || k == kindBlock }

// makedev packs device numbers as the kernel does (new_encode_dev in
// include/linux/kdev_t.h): 12 bits of major, 20 of minor.
func makedev(major, minor int64) uint32 {
	return uint32(minor&0xff | (major&0xfff)<<8 | (minor&^0xff)<<12)
}

func devMajor(rdev uint32) int64 { return int64(rdev>>8) & 0xfff }
func devMinor(rdev uint32) int64 { return int64(rdev&0xff | rdev>>12&0xfff00) }
