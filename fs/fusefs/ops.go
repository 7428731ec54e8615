package fusefs

// op numbers the operations for counters and rules.
type op int

// The operations. Those that the kernel never sends us, because go-fuse answers
// them itself or because they are not negotiated, are missing.
const (
	opLookup op = iota
	opForget
	opGetAttr
	opSetAttr
	opReadlink
	opSymlink
	opMknod
	opMkdir
	opUnlink
	opRmdir
	opRename
	opLink
	opOpen
	opRead
	opWrite
	opStatFs
	opRelease
	opFsync
	opSetXAttr
	opGetXAttr
	opListXAttr
	opRemoveXAttr
	opFlush
	opOpenDir
	opReadDir
	opReaddirPlus
	opReleaseDir
	opFsyncDir
	opAccess
	opCreate
	opTmpfile
	opIoctl
	opFallocate
	opLseek
	opCopyFileRange
	opStatx
	opLock
	opCount
)

// opNames are the kernel's names of the operations.
var opNames = [opCount]string{
	opLookup:        "LOOKUP",
	opForget:        "FORGET",
	opGetAttr:       "GETATTR",
	opSetAttr:       "SETATTR",
	opReadlink:      "READLINK",
	opSymlink:       "SYMLINK",
	opMknod:         "MKNOD",
	opMkdir:         "MKDIR",
	opUnlink:        "UNLINK",
	opRmdir:         "RMDIR",
	opRename:        "RENAME",
	opLink:          "LINK",
	opOpen:          "OPEN",
	opRead:          "READ",
	opWrite:         "WRITE",
	opStatFs:        "STATFS",
	opRelease:       "RELEASE",
	opFsync:         "FSYNC",
	opSetXAttr:      "SETXATTR",
	opGetXAttr:      "GETXATTR",
	opListXAttr:     "LISTXATTR",
	opRemoveXAttr:   "REMOVEXATTR",
	opFlush:         "FLUSH",
	opOpenDir:       "OPENDIR",
	opReadDir:       "READDIR",
	opReaddirPlus:   "READDIRPLUS",
	opReleaseDir:    "RELEASEDIR",
	opFsyncDir:      "FSYNCDIR",
	opAccess:        "ACCESS",
	opCreate:        "CREATE",
	opTmpfile:       "TMPFILE",
	opIoctl:         "IOCTL",
	opFallocate:     "FALLOCATE",
	opLseek:         "LSEEK",
	opCopyFileRange: "COPY_FILE_RANGE",
	opStatx:         "STATX",
	opLock:          "LK",
}

func (o op) String() string { return opNames[o] }

// changing are the operations that a read-only mount refuses.
var changing = []op{
	opSetAttr, opSymlink, opMknod, opMkdir, opUnlink, opRmdir, opRename, opLink,
	opWrite, opSetXAttr, opRemoveXAttr, opCreate, opTmpfile, opFallocate, opCopyFileRange,
}
