package fs

import "syscall"

// KindName returns the name of the kind in a mode: "file", "directory", "symlink", "fifo",
// "character device", "block device" or "socket".
func KindName(mode uint32) string {
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return "directory"
	case syscall.S_IFLNK:
		return "symlink"
	case syscall.S_IFIFO:
		return "fifo"
	case syscall.S_IFCHR:
		return "character device"
	case syscall.S_IFBLK:
		return "block device"
	case syscall.S_IFSOCK:
		return "socket"
	}
	return "file"
}

// Time is a POSIX timestamp. Sec may be negative; Nsec is 0 to 999,999,999.
type Time struct {
	Sec  int64
	Nsec uint32
}

// PermBits are the bits of a mode that SetAttr changes: all but the kind.
const PermBits = 0o7777

// Owner is the owner of a new inode.
type Owner struct{ UID, GID uint32 }

// Attr is the result of stat(2) and statx(2) for an inode.
type Attr struct {
	Ino      uint64
	Mode     uint32 // S_IFMT and permission bits
	Nlink    uint32
	UID, GID uint32
	Rdev     uint32 // device nodes only, as makedev(3) packs it for the kernel
	Size     int64  // bytes
	Blocks   int64  // of 512 bytes, holes not counted
	Atime    Time
	Mtime    Time
	Ctime    Time
	Btime    Time // birth; kept only for the life of the mount
}

// AttrMask says which fields of a SetAttr count.
type AttrMask uint32

// The fields of SetAttr.
const (
	SetMode AttrMask = 1 << iota
	SetUID
	SetGID
	SetSize
	SetAtime
	SetMtime
	SetCtime
	// SetKillPriv clears suid, sgid (if group-executable) and security.capability, as
	// FUSE_HANDLE_KILLPRIV_V2 requires for a truncate or chown by an unprivileged caller.
	SetKillPriv
)

// SetAttr is a change of attributes. Fields that Valid does not name are ignored. Ctime is
// set to the present unless SetCtime is given; see also LeaveTimes.
type SetAttr struct {
	Valid    AttrMask
	Mode     uint32 // permission bits only; the kind of an inode never changes
	UID, GID uint32
	Size     int64
	Atime    Time
	Mtime    Time
	Ctime    Time
}

// Dirent is one name in a directory.
type Dirent struct {
	Name   string
	Inode  *Inode
	Cookie uint64 // where a listing continues after this name; never reused in this directory
}

// Extent is a run of Len bytes of a file that begins at byte Off.
type Extent struct{ Off, Len int64 }

// End returns the offset of the first byte after the extent.
func (e Extent) End() int64 { return e.Off + e.Len }

// StatFS is the result of statfs(2). Blocks are of 4,096 bytes.
type StatFS struct {
	Blocks, Free uint64
	Files, Ffree uint64
}

// Changes counts what has changed since [Tree.Seal].
type Changes struct {
	Created  int64 `json:"created"` // number of entries; also the next two
	Modified int64 `json:"modified"`
	Removed  int64 `json:"removed"`
	Bytes    int64 `json:"bytes"` // present content of the created and modified files
}

// Total returns the number of entries that changed.
func (c Changes) Total() int64 { return c.Created + c.Modified + c.Removed }

// Flags of Rename, as renameat2(2) has them.
const (
	RenameNoReplace = 1 << 0
	RenameExchange  = 1 << 1
)
