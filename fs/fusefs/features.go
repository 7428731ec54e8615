package fusefs

import (
	"fmt"
	"log/slog"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// capabilities are those that we ask of the kernel. Each is used where the kernel has it.
//
// CAP_ATOMIC_O_TRUNC must never be among them. While OPEN is answered with ENOSYS the
// kernel would leave O_TRUNC to an OPEN that it no longer sends. Locks are missing, so that
// they are the kernel's own, and CAP_PASSTHROUGH, which excludes the writeback cache
// (fs/fuse/inode.c, process_init_reply).
const capabilities = fuse.CAP_ASYNC_READ |
	fuse.CAP_BIG_WRITES |
	fuse.CAP_MAX_PAGES |
	fuse.CAP_PARALLEL_DIROPS |
	fuse.CAP_FILE_OPS |
	fuse.CAP_READDIRPLUS | // always, and not only where the kernel finds it worthwhile
	fuse.CAP_CACHE_SYMLINKS | // a symlink never changes
	fuse.CAP_EXPLICIT_INVAL_DATA | // or a stat after a write drops the pages
	fuse.CAP_NO_OPEN_SUPPORT |
	fuse.CAP_NO_OPENDIR_SUPPORT |
	fuse.CAP_WRITEBACK_CACHE |
	fuse.CAP_HANDLE_KILLPRIV_V2 | // we clear suid and sgid, so no GETXATTR before each write
	fuse.CAP_DIRECT_IO_ALLOW_MMAP | // see mustAskForRoom
	fuse.CAP_EXPORT_SUPPORT | // LOOKUP of "." and "..", by which file handles outlive the kernel's memory
	fuse.CAP_ABORT_ERROR // an abort reads as ECONNABORTED, an unmount as ENODEV

// feature is something that can be kept from the kernel: a capability, or an
// operation that is then answered with ENOSYS.
type feature struct {
	caps uint64
	ops  []op
}

// features are the names that [Options.Disable] knows.
var features = map[string]feature{
	"writeback":       {caps: fuse.CAP_WRITEBACK_CACHE},
	"direct_mmap":     {caps: fuse.CAP_DIRECT_IO_ALLOW_MMAP},
	"killpriv":        {caps: fuse.CAP_HANDLE_KILLPRIV_V2},
	"readdirplus":     {caps: fuse.CAP_READDIRPLUS},
	"tmpfile":         {ops: []op{opTmpfile}},
	"statx":           {ops: []op{opStatx}},
	"copy_file_range": {ops: []op{opCopyFileRange}},
	"fallocate":       {ops: []op{opFallocate}},
	"lseek":           {ops: []op{opLseek}},
}

// features are the capabilities that o wants, and the operations that it disables.
func (o *Options) features() (wanted uint64, off []op, err error) {
	wanted = capabilities
	if o.ReadOnly || o.WriteThrough {
		wanted &^= fuse.CAP_WRITEBACK_CACHE
	}
	for _, name := range o.Disable {
		f, ok := features[name]
		if !ok {
			return 0, nil, fmt.Errorf("disable %q: no such feature", name)
		}
		wanted &^= f.caps
		off = append(off, f.ops...)
	}
	return wanted, off, nil
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}
