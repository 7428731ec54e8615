package fusefs

import (
	"fmt"
	"log/slog"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// capabilities are those that we ask of the kernel beyond go-fuse's own. Each is
// used where the kernel has it.
//
// CAP_ATOMIC_O_TRUNC must never be among them. While OPEN is answered with ENOSYS the
// kernel would leave O_TRUNC to an OPEN that it no longer sends.
const capabilities = fuse.CAP_WRITEBACK_CACHE |
	fuse.CAP_HANDLE_KILLPRIV_V2 | // we clear suid and sgid, so no GETXATTR before each write
	fuse.CAP_DIRECT_IO_ALLOW_MMAP | // see mustAskForRoom
	fuse.CAP_NO_OPENDIR_SUPPORT |
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

// mountOptions are go-fuse's settings for o, and the operations that o disables.
func (o *Options) mountOptions() (*fuse.MountOptions, []op, error) {
	mo := &fuse.MountOptions{
		Name:                     "workdir",
		MaxWrite:                 o.transfer(),
		MaxReadAhead:             maxTransfer,
		MaxBackground:            maxBackground,
		ExplicitDataCacheControl: true, // or a stat after a write drops the pages
		EnableSymlinkCaching:     true, // a symlink never changes
		DisableSplice:            true, // content is copied, not spliced
		ExtraCapabilities:        capabilities,
		Logger:                   slog.NewLogLogger(o.logger().Handler(), slog.LevelWarn),
	}
	mo.DisabledCapabilities = fuse.CAP_PASSTHROUGH // it excludes the writeback cache (fs/fuse/inode.c, process_init_reply)
	if o.ReadOnly || o.WriteThrough {
		mo.DisabledCapabilities |= fuse.CAP_WRITEBACK_CACHE
	}
	var off []op
	for _, name := range o.Disable {
		f, ok := features[name]
		if !ok {
			return nil, nil, fmt.Errorf("disable %q: no such feature", name)
		}
		mo.DisabledCapabilities |= f.caps
		off = append(off, f.ops...)
	}
	return mo, off, nil
}

func (o *Options) transfer() int {
	if o.MaxTransfer <= 0 {
		return maxTransfer
	}
	return min(o.MaxTransfer, maxTransfer)
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}
