// Package store keeps archives at rest: a workspace URL maps to a key, and a key to one
// archive at a time.
//
// Of an archive's content it knows only the ids of the commits, and it knows nothing of
// mounts. Its one hard idea is the conditional write: [Store.Put] replaces exactly the
// revision that the caller names, or changes nothing. A commit is one such write ([Commit]
// adds the recovery from a lost answer), every driver keeps that one promise, and package
// storetest tests it.
//
// [Compose] makes a successor from new bytes and ranges of the archive that it replaces: in a
// directory the kernel shares or copies the ranges, other stores copy them or receive them.
//
// # Drivers
//
// The drivers file and mem are built in. Those of the clouds are linked by importing their
// packages, which call [Register]; programs can register their own. Each reads the options of
// its scheme from the query of the URL.
//
// # Locks
//
// No lock of this package is held while a caller's code runs: a slow or stopped caller must
// not block other writers. So the file driver calls PutOptions.Before right before it acquires
// the lock of the directory, and once more if that took long. The lock is a file that only
// writers of the directory can open.
package store
