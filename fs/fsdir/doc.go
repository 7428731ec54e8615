// Package fsdir makes a plain directory of a tree, and a tree of a plain directory.
//
// [Dir.Unpack] gives an empty directory the files of a tree; [Files] gives a tree the
// files of a directory, whose content stays where it is until it is read;
// [Dir.Take] remembers what a directory looks like, so that a later look shows what was
// changed in it; [Dir.Clear] empties a directory. It knows no stores and no mounts.
//
// # Nothing leads out
//
// The tree may come from somebody hostile, and others may change a directory while
// it is read. So every name is used relative to a descriptor of its directory, no
// symbolic link is followed, and a file that is not what it was when it was found
// gives an error and no bytes.
package fsdir
