// Package fsupper applies what was done in a kernel overlay to the tree that the overlay's
// lower directory showed: it translates the vocabulary of upper and index
// (Documentation/filesystems/overlayfs.rst) into verbs of the tree. It knows nothing of
// mounts.
//
// # Upper bounds the changes, but does not name them
//
// Nothing outside of upper has changed, so nothing else is read. What is in upper may be
// the same as before: a chmod that changes nothing copies a file up, as does an open for
// writing, and a rename there and back leaves a redirect. So each entry is compared with
// the inode of the tree that its origin names, and of a file only the chunks of 1 MiB that
// differ become upper.
//
// # One plan
//
// The final shape is known before anything is changed: which directory of upper merges with
// which one of the tree, and so which inode each name leads to. Then names that will lead
// elsewhere are removed, top down; an inode that has a place in the final shape is detached
// rather than removed. Then the final shape is filled, top down too. This covers renames of
// every kind, including those of a directory into a renamed one, swaps and cycles.
//
// Count and List do the same to a ledger instead of a tree.
package fsupper
