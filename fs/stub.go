package fs

import (
	"io"
	"log/slog"
	"syscall"
)

// Options are a tree's limits. Zero fields mean no limit of the tree's own; a
// Home has its own limit all the same.
type Options struct {
	MaxBytes  int64 // content in memory, bytes
	MaxInodes int64
	Owner     Owner // of the root directory
	Logger    *slog.Logger
}

// Home is where the content of files lives, outside of the Go heap. Several
// trees may share one. NewTmpfsHome and NewArenaHome make them.
type Home interface {
	// NewFile makes an empty file. ENOSPC, ENFILE.
	NewFile() (File, error)
	// StatFS tells the home's own limit and use, in bytes; total 0 means no limit.
	StatFS() (total, free int64, err error)
	// Close gives everything back. No file of the home may be used afterwards.
	Close() error
}

// File is one backing file. Its methods may be called from several goroutines;
// the callers order reads and writes of the same bytes themselves.
type File interface {
	ReadAt(p []byte, off int64) (int, error) // holes read as zeros, io.EOF at the end
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	PunchHole(off, length int64) error
	Allocate(off, length int64) error
	SeekData(off int64) (int64, error) // ENXIO at or beyond the end
	SeekHole(off int64) (int64, error)
	Used() (int64, error) // bytes of memory that it takes
	Close() error         // frees the content
}

// NewTmpfsHome makes a detached tmpfs of at most size bytes and inodes files
// (0: the kernel's default). It needs root or CAP_SYS_ADMIN in the user
// namespace that owns the mount namespace; EPERM tells that there is none.
func NewTmpfsHome(size, inodes int64) (Home, error) { panic("stub") }

// NewArenaHome makes a home in one memfd of at most size bytes.
func NewArenaHome(size int64) (Home, error) { panic("stub") }

type Tree struct{}
type Inode struct{}

func New(home Home, opts *Options) (*Tree, error) { panic("stub") }
func (t *Tree) Close() error                      { panic("stub") } // frees all content
func (t *Tree) Root() *Inode                      { panic("stub") } // no reference is given
func (t *Tree) Get(ino uint64) *Inode             { panic("stub") } // nil if there is none; gives no reference: the caller (the kernel) holds one. The root is number 1.
func (t *Tree) Ref(n *Inode)                      { panic("stub") }
func (t *Tree) Unref(n *Inode, count uint64)      { panic("stub") }

// Names. Mode is the full mode, S_IFMT included for Mknod, permission bits for the others.
func (t *Tree) Lookup(dir *Inode, name string) (*Inode, syscall.Errno) { panic("stub") }
func (t *Tree) Parent(dir *Inode) (*Inode, syscall.Errno)              { panic("stub") }
func (t *Tree) Mknod(dir *Inode, name string, mode, rdev uint32, o Owner) (*Inode, syscall.Errno) {
	panic("stub")
} // regular files too
func (t *Tree) Mkdir(dir *Inode, name string, mode uint32, o Owner) (*Inode, syscall.Errno) {
	panic("stub")
}
func (t *Tree) Symlink(dir *Inode, name, target string, o Owner) (*Inode, syscall.Errno) {
	panic("stub")
}
func (t *Tree) Link(dir *Inode, name string, n *Inode) syscall.Errno             { panic("stub") } // no reference is given: the caller has n. Works on a Tmpfile (nlink 0) once.
func (t *Tree) Tmpfile(dir *Inode, mode uint32, o Owner) (*Inode, syscall.Errno) { panic("stub") }
func (t *Tree) Unlink(dir *Inode, name string) syscall.Errno                     { panic("stub") }
func (t *Tree) Rmdir(dir *Inode, name string) syscall.Errno                      { panic("stub") }
func (t *Tree) Rename(odir *Inode, oname string, ndir *Inode, nname string, flags uint32) syscall.Errno {
	panic("stub")
}
func (t *Tree) Readlink(n *Inode) (string, syscall.Errno) { panic("stub") }

// ReadDir calls fn for the names of dir after cookie (0: all) until fn returns
// false. "." and ".." are not among them; cookies 1 and 2 are theirs. fn runs
// under the tree's lock: it may call Ref and Attr and nothing else.
func (t *Tree) ReadDir(dir *Inode, cookie uint64, fn func(Dirent) bool) syscall.Errno { panic("stub") }

// Attributes.
func (t *Tree) Attr(n *Inode) Attr                                                    { panic("stub") }
func (t *Tree) SetAttr(n *Inode, s *SetAttr) (Attr, syscall.Errno)                    { panic("stub") }
func (t *Tree) GetXattr(n *Inode, name string) ([]byte, syscall.Errno)                { panic("stub") } // ENODATA
func (t *Tree) SetXattr(n *Inode, name string, value []byte, flags int) syscall.Errno { panic("stub") } // XATTR_CREATE, XATTR_REPLACE
func (t *Tree) RemoveXattr(n *Inode, name string) syscall.Errno                       { panic("stub") }
func (t *Tree) ListXattr(n *Inode) ([]string, syscall.Errno)                          { panic("stub") } // sorted
func (t *Tree) StatFS() StatFS                                                        { panic("stub") }

// Content.
func (t *Tree) ReadAt(n *Inode, p []byte, off int64) (int, syscall.Errno) { panic("stub") } // short at the end, 0 beyond
func (t *Tree) WriteAt(n *Inode, p []byte, off int64, killPriv bool) (int, syscall.Errno) {
	panic("stub")
}
func (t *Tree) Allocate(n *Inode, off, length int64, mode uint32) syscall.Errno { panic("stub") } // FALLOC_FL_KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE; else EOPNOTSUPP
func (t *Tree) Seek(n *Inode, off int64, whence int) (int64, syscall.Errno)     { panic("stub") } // SEEK_DATA, SEEK_HOLE
func (t *Tree) CopyRange(src *Inode, soff int64, dst *Inode, doff, length int64) (int64, syscall.Errno) {
	panic("stub")
}

// Base is the content of one file as an archive holds it. It never changes, and
// its methods may be called from several goroutines. An error other than io.EOF
// becomes EIO.
type Base interface {
	Size() int64
	ReadAt(p []byte, off int64) (int, error)
	SeekData(off int64) (int64, error) // next data at or after off; Size() if there is none
	SeekHole(off int64) (int64, error) // next hole at or after off; Size() if there is none
	Used() int64                       // bytes of memory or archive that it takes; for st_blocks
}

// SetBase gives a regular file that is empty its content as base. The first
// write copies it up.
func (t *Tree) SetBase(n *Inode, b Base) syscall.Errno { panic("stub") }

// NewSpool makes a spool in the tree's home, freed by Tree.Close: the content of
// a streamed archive, file after file in one backing file, so that ten thousand
// small files cost no ten thousand backing files.
func (t *Tree) NewSpool() (*Spool, error) { panic("stub") }

type Spool struct{}

// Add reads r to its end and gives its content as a Base. Aligned runs of
// zeros of 4 KiB or more become holes. ENOSPC where the limit is reached.
func (s *Spool) Add(r io.Reader) (Base, error) { panic("stub") }

// AddSparse is Add for a sparse file of the given size whose data are the given extents;
// r gives the data of the extents, one after another.
func (s *Spool) AddSparse(r io.Reader, size int64, data []Extent) (Base, error) { panic("stub") }

// Extent is a run of bytes of a file.
type Extent struct{ Off, Len int64 }

// The life of a tree.

func (t *Tree) Seal()              { panic("stub") } // what there is now is the opened revision: nothing counts as changed
func (t *Tree) Changes() Changes   { panic("stub") }
func (t *Tree) Changed() bool      { panic("stub") } // cheap
func (t *Tree) Empty() bool        { panic("stub") } // the root directory has no names
func (t *Tree) Freeze()            { panic("stub") } // everything that would change the tree gives EROFS from now on
func (t *Tree) Poison(cause error) { panic("stub") } // every operation gives EIO from now on; the first cause is kept
func (t *Tree) Err() error         { panic("stub") } // the first cause of Poison or Taint, nil if none
func (t *Tree) Taint(cause error)  { panic("stub") } // as Poison, but operations go on: a write that the tool believes in was lost, so the tree must not be committed

// Walk visits the tree in archive order: depth first, each directory before its
// names, names sorted by bytes. path has no leading slash; the root is "". The
// caller sees to it that nobody changes the tree meanwhile. Hard links are
// visited once for each name. fn's error ends the walk and is returned.
func (t *Tree) Walk(fn func(path string, n *Inode, a Attr) error) error { panic("stub") }
