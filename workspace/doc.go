// Package workspace does things to whole workspaces at rest, without mounting
// them: it exports and imports them, shows what is in them, compares and verifies
// them.
//
// It knows no mounts. A function here opens the archive of a URL and has a tree stand on
// it, or loads it into one, as a mount does, and does what it does to that tree; an
// import fills a tree and commits it. So there is one way to read an archive and one to
// write it.
//
// # Memory
//
// Names and attributes are on the heap. Content of an archive with an index is read when
// it is asked for, and 64 MiB of it are kept. Of other archives it is in memory up to
// 64 MiB and in a temporary directory beyond that, or nowhere at all where nobody asks
// for it.
//
// # Hostile input
//
// What is exported comes from a bucket that others can write, so an export believes
// nothing: every name is made relative to a descriptor of its directory, no
// symbolic link is followed (package fsdir), set-user-ID bits and owners are kept only if that is
// asked for, and device nodes are refused unless asked for. A directory that is
// imported may change meanwhile: what changed after it was looked at is an error,
// and nothing is stored.
package workspace
