package fusefs

import (
	"fmt"
	"log/slog"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// capabilities are the capabilities that we request. Each is used if the kernel has it.
//
// CAP_ATOMIC_O_TRUNC must never be among them. Since OPEN is answered with ENOSYS, the
// kernel would leave O_TRUNC to an OPEN that it no longer sends. The list has no locks,
// which are thus the kernel's own, and no CAP_PASSTHROUGH, which excludes the writeback
// cache (fs/fuse/inode.c, process_init_reply).
const capabilities = fuse.CAP_ASYNC_READ |
	fuse.CAP_BIG_WRITES |
	fuse.CAP_MAX_PAGES |
	fuse.CAP_PARALLEL_DIROPS |
	fuse.CAP_FILE_OPS |
	fuse.CAP_READDIRPLUS | // always, not only when the kernel finds it worthwhile
	fuse.CAP_CACHE_SYMLINKS | // a symlink never changes
	fuse.CAP_EXPLICIT_INVAL_DATA | // else a stat after a write drops the pages
	fuse.CAP_NO_OPEN_SUPPORT |
	fuse.CAP_NO_OPENDIR_SUPPORT |
	fuse.CAP_WRITEBACK_CACHE |
	fuse.CAP_HANDLE_KILLPRIV_V2 | // we clear suid and sgid, so that no GETXATTR precedes each write
	fuse.CAP_DIRECT_IO_ALLOW_MMAP | // see mustAskForRoom
	fuse.CAP_EXPORT_SUPPORT | // LOOKUP of "." and "..", by which file handles stay valid after the kernel has forgotten the inode
	fuse.CAP_ABORT_ERROR // an abort reads as ECONNABORTED, an unmount as ENODEV

// feature is something that can be kept from the kernel: a capability, or an operation that
// is then answered with ENOSYS.
type feature struct {
	caps uint64
	ops  []op
}

// features maps the names that [Options.Disable] accepts.
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

// features returns the capabilities that o requests, and the operations that it disables.
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
