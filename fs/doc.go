// Package fs is a POSIX file tree in memory: names, inodes, content and limits.
//
// The tree is the only truth about a mounted workspace. FUSE, archives and the
// commit are adapters at its borders; they call the same verbs, and this
// package knows none of them. Who may do what is not decided here either: the
// kernel has done that before it asks.
//
// Names, attributes and structure live on the Go heap. The content of regular
// files lives in a [Home] outside of it. It is base, as it came from the archive,
// which never changes; or upper, a backing file of what was written since, which stands
// over those ranges of the base that nothing was written to. A write copies up the
// chunks of 1 MiB that it has a part of; to cut a file, or to write a whole chunk, drops
// base. What is dropped is freed. A file without content is one hole.
//
// # References
//
// Every verb that gives out an *Inode gives one reference with it, which the
// caller returns with [Tree.Unref]. The reference is exactly the kernel's lookup
// count: a FUSE entry reply hands one over, FORGET returns it.
//
// An inode lives while it has a name or a reference, so an unlinked file that is
// still open keeps its content. References are counted without a lock. What
// makes that right: a first reference comes from a name alone, by Lookup or
// ReadDir under Tree.mu, and names are removed under Tree.mu held for writing.
// So once an inode without names was seen, and after that no reference, there
// will never be one again, and whoever sees this frees it; the inode table
// decides between two who see it at once.
//
// # Errors
//
// Operations return syscall.Errno; zero is success. The errno is the one that
// the same call gives on tmpfs. One that fails has changed nothing, unless its
// comment says otherwise.
//
// # Lock order
//
// Tree.mu (names, link counts, directories) is taken before Tree.spoolMu, these
// before Inode.mu (attributes, content, extended attributes), that before
// Spool.mu, and all of them before the locks of a home: arenaFile.mu before
// arenaHome.mu, or descriptorCache.mu. table.mu, losses.mu and Tree.errMu are leaves. Never
// two Inode.mu at once: a copy between two files locks them in turns.
//
// Lookup and ReadDir hold Tree.mu for reading, the verbs that change names for
// writing. Attr, SetAttr, the verbs on content and on extended attributes do not
// take it. A link count changes under Tree.mu and Inode.mu both, so that either
// is enough to read it. Content is read under no lock, also to copy it up. The backing
// file is not freed meanwhile, because the reader has a reference. Base is freed when it
// is dropped, so a reader looks afterwards whether it is still the content, and reads
// again if not.
package fs
