// Package fsdir writes a tree to a plain directory and loads a plain directory into a tree.
//
// [Dir.Unpack] writes the files of a tree to an empty directory. [Files] fills a tree with
// the files of a directory; their content stays where it is until it is read. [Dir.Take]
// records the state of a directory in a snapshot, so that a later snapshot shows what
// changed in between. [Dir.Clear] empties a directory. The package knows no stores and no
// mounts.
//
// # Nothing leads out
//
// The tree may be hostile, and others may change a directory while it is read. So every
// name is used relative to a descriptor of its directory, and no symbolic link is followed.
// If a file has changed since it was found, reading it returns an error and no bytes.
package fsdir
