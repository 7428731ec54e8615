// Package fsupper takes over what was done in a kernel overlay into the tree that its
// lower directory showed: the vocabulary of upper and index
// (Documentation/filesystems/overlayfs.rst) becomes verbs of the tree. It knows nothing
// of mounts.
//
// # Upper bounds the changes, but does not name them
//
// Nothing outside of upper is different, so nothing else is looked at. What is in upper
// may be the same as before: a chmod that changes nothing copies a file up, as does an
// open for writing, and a rename there and back leaves a redirect. So each entry is
// compared with the inode of the tree that its origin names, and of a file only the chunks
// of 1 MiB that differ become upper.
//
// # One plan
//
// The final shape is known before anything is changed: which directory of upper merges
// with which one of the tree, and so which inode each name leads to. Then the names that
// lead elsewhere go, top down, but an inode that has a place in the final shape is detached
// rather than removed. Then the final shape is filled, top down too. Renames of every
// kind, those of a directory into a renamed one, swaps and cycles, are this and no more.
//
// Count and List do the same to a ledger instead of a tree.
package fsupper
