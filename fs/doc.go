// Package fs is a POSIX file tree in memory: names, inodes, content and limits.
//
// The tree is the only truth about a mounted workspace. FUSE, archives and the commit are
// adapters at its borders; they call the same verbs, and this package knows none of them.
// It does not check permissions either: the kernel has done that before it asks.
//
// A tree is filled by verbs, or it stands on an [Image]: a frozen tree that is kept
// elsewhere, with a row for each name. Names, attributes and structure live on the Go heap.
// Of an image, only inodes that were changed or are referenced right now do. The names of a
// directory are rows of the image until one of them changes. An unchanged inode is dropped
// with its last reference; the next lookup makes it again, with the same number. Changed
// inodes are marked, so that the cost of summing up the changes depends on what changed.
//
// The content of regular files lives in a [Home] outside of the heap. Content is base,
// which came from the archive and never changes, or upper, which was written since. Upper
// is a backing file that stands over those ranges of the base that were not written to. A
// write copies up the chunks of 1 MiB that it touches; cutting a file, or writing a whole
// chunk, drops base. What is dropped is freed. A file without content is one hole.
//
// # References
//
// Every verb that returns an *Inode returns one reference with it, which the caller gives
// back with [Tree.Unref]. References are exactly the kernel's lookup count: a FUSE entry
// reply passes one on, FORGET returns it.
//
// An inode lives while it has a name or a reference, so an unlinked file that is still open
// keeps its content. Directories hold the numbers of inodes, not inodes: every verb that
// follows a name takes a reference and returns it. References are counted without a lock.
// An inode that can be freed, or made again from its row, is retired by moving its count
// from 0 to a negative value, which is final: exactly one goroutine retires it, and a
// lookup that still finds it in the table makes another. The count is moved under Inode.mu,
// after checking whether the inode has a name or was changed. Changes are made under the
// same lock, by holders of a reference, so none is lost.
//
// # Errors
//
// Operations return syscall.Errno; zero is success. The errno is the one that the same call
// returns on tmpfs. A failed operation has changed nothing, unless its comment says
// otherwise.
//
// # Lock order
//
// Tree.mu (names, link counts, directories) is taken before Tree.spoolMu, these before
// Inode.mu (attributes, content, extended attributes), that before Spool.mu, and all of
// them before the locks of a home: arenaFile.mu before arenaHome.mu, or descriptorCache.mu.
// table.mu, losses.mu and Tree.errMu are leaves; an Image, and the methods of a Base except
// ReadAt, are called under any of the tree's locks. Nobody holds two Inode.mu at once: a
// copy between two files locks them in turn.
//
// Lookup and ReadDir hold Tree.mu for reading, the verbs that change names for writing.
// Attr, SetAttr, and the verbs on content and on extended attributes do not take it. A link
// count changes under Tree.mu and Inode.mu both, so that either is enough to read it.
// Content is read under no lock, even when it is copied up. The backing file is not freed
// meanwhile, because the reader has a reference. Base is freed when it is dropped, so a
// reader checks afterwards whether it is still the content, and reads again if not.
package fs
