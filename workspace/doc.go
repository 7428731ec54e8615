// Package workspace operates on whole workspaces at rest, without mounting them: it exports,
// imports, shows, compares and verifies them.
//
// It knows no mounts. Its functions open the archive of a URL as the base of a tree, or load
// it into one, as a mount does, and then work on that tree; an import fills a tree and commits
// it. So there is one way to read an archive and one to write it.
//
// # Memory
//
// Names and attributes are on the heap. Content of an archive with an index is read on demand,
// and 64 MiB of it are cached. Content of other archives is in memory up to 64 MiB and in a
// temporary directory beyond that, or dropped if it is not needed.
//
// # Hostile input
//
// Archives come from a bucket that others can write, so an export trusts nothing: every name
// is created relative to a descriptor of its directory, no symbolic link is followed (package
// fsdir), set-user-ID bits and owners are kept only on request, and device nodes are refused
// unless requested. A directory may change while it is imported: a file that changes after it
// was examined is an error, and nothing is stored.
package workspace
