// Package fs is a POSIX file tree in memory: names, inodes, content and limits.
//
// The tree is the only truth about a mounted workspace. FUSE, archives and the
// commit are adapters at its borders; they call the same verbs, and this
// package knows none of them. Names, attributes and structure live on the Go
// heap. The content of regular files lives in a [Home] outside of it, either as
// base (as it came from the archive, immutable) or as upper (written since).
//
// # References
//
// Every verb that gives out an *Inode gives one reference with it, which the
// caller returns with [Tree.Unref]. An inode lives while it has a name or a
// reference, so an unlinked file that is still open keeps its content. The
// reference is exactly the kernel's lookup count: a FUSE entry reply hands one
// over, FORGET returns it.
//
// # Errors
//
// Operations return syscall.Errno; zero is success. The errno is the one that
// the same call gives on tmpfs.
//
// # Lock order
//
// Tree.mu (names, link counts, references) before Inode.mu (attributes,
// content, extended attributes) before a home's own lock. Never two Inode.mu at
// once, but for a copy between two files, which locks the lower inode number
// first.
package fs
