// Package store keeps archives at rest: a workspace URL leads to a key, and a
// key to one archive at a time.
//
// It knows nothing of what is in an archive but the ids of its commits, and
// nothing of mounts. Its one hard idea is the conditional write: [Store.Put]
// replaces exactly the revision that the caller names, or changes nothing. A
// commit is one such write ([Commit] adds what a lost answer needs), every
// driver keeps that one promise, and package storetest holds it to it.
//
// [Compose] makes a successor of ranges of the archive that it replaces and of new bytes:
// a directory shares or copies the ranges in the kernel, other stores are sent them.
//
// # Drivers
//
// The drivers file and mem are always there. Those of the clouds are linked by
// importing their packages, which call [Register]; programs can register their
// own. Each takes the options of its scheme from the query of the URL.
//
// # Locks
//
// No lock of this package is held while code of a caller runs: one that takes long,
// or is stopped, must not keep other writers waiting. So the file driver calls
// PutOptions.Before right before it takes the lock of the directory, and once more
// where that took long. The lock is a file that only writers of the directory can open.
package store
