// Package fusefs shows an [fs.Tree] to the kernel by FUSE: one FUSE operation is one
// operation of the tree.
//
// It has no names, no inode table and no file handles of its own. A FUSE node id is an
// inode number, a lookup count is a reference of the tree, and requests on open files name
// the inode that they mean. What the package does know is the protocol, and above all what
// the kernel keeps for itself:
//
//   - Names, attributes, symlinks, listings and pages stay in the kernel's caches
//     for good ([cacheFor]), because nobody but the kernel changes a mounted tree.
//   - With the writeback cache, the size, mtime and ctime of regular files are the
//     kernel's. It ignores ours, and sends its own by SETATTR. So a WRITE must not
//     change the tree's times: it may arrive after that SETATTR.
//   - Permissions are the kernel's too (default_permissions), and so are locks.
//   - OPEN, OPENDIR, FLUSH, FSYNC, FSYNCDIR and ACCESS are answered with ENOSYS,
//     which the kernel remembers: it then does its part (pages are written back by
//     close and fsync as before) without asking.
//
// The operations do not depend on what carries them: [handler.handle] answers one request,
// and any transport that has the bytes of requests can call it. It surrounds all operations
// ([operations]), counts, refuses and recovers. The transport is [loop], which reads
// /dev/fuse for all connections of the process. Of go-fuse, only the wire types and the
// encoding of listings are used.
//
// Lock order: an operation takes the locks of the tree that it needs, and holds no lock of
// this package meanwhile except its turn in [writeOrder].
//
// # Failures
//
// A panic in an operation ends that mount and no other: the stack is logged, the tree is
// poisoned, and every later request is answered with EIO. A writeback WRITE that fails is a
// loss of the file, because the tool was told long ago that its bytes are written; the file
// takes no more, see full.go.
//
// # Limitations
//
// st_blocks of a file that is open for writing lags behind what was written until the
// kernel writes it back, and truncate(2) by path to the size that a file already has leaves
// its times (both under the writeback cache only). ioctl(2) knows no file attributes
// (chattr).
//
// Under the writeback cache the kernel asks for the attributes of a file again after each
// close; docs/adr/0013 has what else it asks, and why.
//
// Requests of one mount that wait for nothing are answered one after another, on one
// processor at a time. INTERRUPT is ignored: every operation ends by itself.
package fusefs
