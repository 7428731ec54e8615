package store

import (
	"context"
	"io"
	"time"
)

// Revision identifies one archive of a key. It is opaque: equal revisions of
// one key are the same archive, and nothing else can be read from it. The empty
// revision stands for "no archive".
type Revision string

// Info describes one archive.
type Info struct {
	Key      string // without ".tar.gz"
	Revision Revision
	Size     int64 // bytes
	ModTime  time.Time
}

// Object is an archive that is open for reading. All of the opened revision stays readable,
// even after it is replaced or a read fails; an Object never returns bytes of two revisions.
// If the store cannot keep that promise (a tool overwrote the file in place) reads fail with
// ErrConflict.
//
// ReadAt may be called from several goroutines, Read from one.
type Object interface {
	io.ReadCloser
	io.ReaderAt // io.EOF at the end, as io.ReaderAt says
	Info() Info
}

// PutOptions are the conditions of a Put. Nil stands for the zero value.
type PutOptions struct {
	// Replace is the revision that the new archive replaces. The empty revision means that
	// there must be no archive.
	Replace Revision
	// Before is called once the bytes are at the store (or in its temporary
	// file) and right before the request that makes them visible. An error ends
	// the Put with that error, and nothing is stored. It may be called more than once if that
	// request is repeated. May be nil.
	Before func(context.Context) error
	// Lost is called if the answer to that request was lost, before the request is repeated,
	// to check whether it was done. answer is the error received instead. If Lost returns nil
	// the request may be repeated; an error ends the Put with that error. If Lost is nil the
	// driver may repeat the request as it sees fit.
	Lost func(ctx context.Context, answer error) error
}

// Store keeps the archives of one bucket or directory. All methods may be called
// from several goroutines and processes at once. Keys are as [ParseURL] returns
// them in URL.Key: without ".tar.gz" and without a slash at the end.
//
// Errors, for errors.Is: [ErrNotExist], [ErrConflict], [ErrUnknown],
// [ErrNotAllowed], [ErrUnreachable], [ErrNotArchive], [ErrFull], [ErrURL], and
// the context's own.
type Store interface {
	// Open opens the current archive of key. ErrNotExist means that the store answered that it
	// has none; any other failure is a different error. The caller closes the Object. ctx also
	// ends the Object's reads if they go over a network.
	Open(ctx context.Context, key string) (Object, error)
	// Stat describes the current archive. Errors as Open.
	Stat(ctx context.Context, key string) (Info, error)
	// Put stores what write writes as the key's archive if its revision is
	// opts.Replace, else ErrConflict (a *ConflictError). When it returns nil the
	// archive is durable. On every error except ErrUnknown this call has stored nothing. write
	// may be called several times or not at all, must write the same bytes each time, and must
	// not keep its writer. An error of write, opts.Before or opts.Lost ends the Put and is
	// found by errors.Is in its error.
	Put(ctx context.Context, key string, write func(io.Writer) error, opts *PutOptions) (Info, error)
	// Delete removes the archive of key if its revision is rev, else ErrConflict;
	// ErrNotExist if there is none. before is as PutOptions.Before and may be nil.
	Delete(ctx context.Context, key string, rev Revision, before func(context.Context) error) error
	// List returns the archives whose keys are prefix + one name without a slash,
	// sorted by key. prefix is "" or ends with a slash. A prefix that does not
	// exist is an empty list. The Revision of an archive that may be seen but
	// not read is empty.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Close releases the store's resources. Open Objects stay open.
	Close() error
}

// Lister is an optional interface of a Store that can list more than one level. All drivers of
// this module implement it.
type Lister interface {
	// ListAll returns the archives of all keys that begin with prefix, sorted by key, and
	// otherwise is as Store.List.
	ListAll(ctx context.Context, prefix string) ([]Info, error)
}

// Copier is an optional interface of a Store that can copy an archive without its bytes
// passing through this process.
type Copier interface {
	// CopyFrom stores the archive that srcKey has in src, of exactly revision
	// srcRev, as the archive of key, and otherwise is as Put. ErrNotExist, or ErrConflict that
	// is not a *ConflictError of key, means that the archive in src was replaced.
	// errors.ErrUnsupported means that it is not possible between these two stores, and
	// nothing was done; the caller then sends the bytes.
	CopyFrom(ctx context.Context, src Store, srcKey string, srcRev Revision, key string, opts *PutOptions) (Info, error)
}

// TailOpener is an optional interface of a Store that can open an archive for reading ranges
// of it. All drivers of this module implement it.
type TailOpener interface {
	// OpenTail is Store.Open for a reader that begins with the last n bytes, and may read
	// nothing else: only these are fetched in advance. n may be 0, or exceed the size of the
	// archive.
	OpenTail(ctx context.Context, key string, n int64) (Object, error)
}

// OpenTail opens the current archive of key as TailOpener.OpenTail does, or by Store.Open if
// the driver is not a TailOpener.
func OpenTail(ctx context.Context, s Store, key string, n int64) (Object, error) {
	if t, ok := s.(TailOpener); ok {
		return t.OpenTail(ctx, key, n)
	}
	return s.Open(ctx, key)
}

// Syncer is an optional interface of a Store in which a visible archive may not be durable
// yet, because the write that made it has failed or has not finished.
type Syncer interface {
	// Sync makes key's current archive durable, or its absence.
	Sync(ctx context.Context, key string) error
}

// Sync makes key's current archive durable, or its absence. A reader that has seen a commit in
// the store calls it before relying on that commit.
func Sync(ctx context.Context, s Store, key string) error {
	if syncer, ok := s.(Syncer); ok {
		return syncer.Sync(ctx, key)
	}
	return nil
}

// Keeper is an optional interface of a Store that can keep an archive under a second key at
// little cost. All drivers of this module implement it.
type Keeper interface {
	// Keep makes the archive of key, of exactly revision rev, also the archive of the key as,
	// durably. If as already has an archive, it is the same one and stays. Afterwards the two
	// are independent: a Put of one does not change the other. ErrConflict or ErrNotExist if
	// key has another archive, or none. errors.ErrUnsupported means that it is not possible,
	// and nothing was done.
	Keep(ctx context.Context, key string, rev Revision, as string) error
	// Drop removes an archive made by Keep, of the revision that a list showed. If it no
	// longer exists the error is nil, ErrNotExist or ErrConflict, depending on the store.
	Drop(ctx context.Context, as string, rev Revision) error
}

// Writable checks, without writing, whether a Put of key is likely to be allowed, so that a
// read-only store is detected before the work and not after it. It returns nil if the driver
// cannot check. Errors as Put.
func Writable(ctx context.Context, s Store, key string) error {
	if asked, ok := s.(interface {
		Writable(ctx context.Context, key string) error
	}); ok {
		return asked.Writable(ctx, key)
	}
	return nil
}

// suffix ends the name of every archive.
const suffix = ".tar.gz"
