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

// Object is an archive that is open for reading. It stays readable as what it
// was opened as, whole, though it be replaced meanwhile, or a read fails; it
// never returns bytes of two revisions. Where the store cannot keep that (a tool
// overwrote the file in place) reads fail, with an error that is ErrConflict.
//
// ReadAt may be called from several goroutines, Read from one.
type Object interface {
	io.ReadCloser
	io.ReaderAt // io.EOF at the end, as io.ReaderAt says
	Info() Info
}

// PutOptions are the conditions of a Put. Nil stands for the zero value.
type PutOptions struct {
	// Replace is the revision that the new archive takes the place of. The empty
	// revision means that there must be none.
	Replace Revision
	// Before is called once the bytes are at the store (or in its temporary
	// file) and right before the request that makes them visible. An error ends
	// the Put with that error, and nothing is stored. It may be called again
	// where that request is sent again. Nil asks nobody.
	Before func(context.Context) error
	// Lost is called where the answer to that request was lost, before it is sent
	// again: somebody looks whether it was done. answer is what came instead of an
	// answer. Nil means that the request may be sent again; an error ends the Put with
	// that error. A Lost that is nil lets the driver send it again as it sees fit.
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
	// Open opens the current archive of key. ErrNotExist means that the store
	// was asked, answered, and has none; whatever else is wrong is another error.
	// The caller closes the Object. ctx also ends the reads of the Object where
	// they go over a network.
	Open(ctx context.Context, key string) (Object, error)
	// Stat describes the current archive. Errors as Open.
	Stat(ctx context.Context, key string) (Info, error)
	// Put stores what write writes as the key's archive if its revision is
	// opts.Replace, else ErrConflict (a *ConflictError). When it returns nil the
	// archive is durable. On every other error but ErrUnknown nothing was stored
	// by this call. write may be called several times or not at all, must write
	// the same bytes each time, and must not keep its writer. An error of write,
	// opts.Before or opts.Lost ends the Put and is found by errors.Is in its error.
	Put(ctx context.Context, key string, write func(io.Writer) error, opts *PutOptions) (Info, error)
	// Delete removes the archive of key if its revision is rev, else ErrConflict;
	// ErrNotExist if there is none. before is as PutOptions.Before and may be nil.
	Delete(ctx context.Context, key string, rev Revision, before func(context.Context) error) error
	// List returns the archives whose keys are prefix + one name without a slash,
	// sorted by key. prefix is "" or ends with a slash. A prefix that does not
	// exist is an empty list. The Revision of an archive that may be seen but
	// not read is empty.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Close frees what the store holds. Objects that are open stay so.
	Close() error
}

// Lister is what a Store can be besides: one that lists more than one level.
// The drivers of this module all are.
type Lister interface {
	// ListAll returns the archives of all keys that begin with prefix, whatever
	// follows, sorted by key, and otherwise is as Store.List.
	ListAll(ctx context.Context, prefix string) ([]Info, error)
}

// Copier is what a Store can be besides: one that copies an archive without its
// bytes passing through this process.
type Copier interface {
	// CopyFrom stores the archive that srcKey has in src, of exactly revision
	// srcRev, as the archive of key, and otherwise is as Put. ErrNotExist or
	// ErrConflict that is no *ConflictError of key means that src has another
	// archive by now. An error that is errors.ErrUnsupported means that this
	// cannot be done between these two, and nothing was; the caller then sends
	// the bytes.
	CopyFrom(ctx context.Context, src Store, srcKey string, srcRev Revision, key string, opts *PutOptions) (Info, error)
}

// TailOpener is what a Store can be besides: one that opens an archive for reading
// ranges of it. The drivers of this module all are.
type TailOpener interface {
	// OpenTail is Store.Open for a reader that begins with the last n bytes, and may
	// read nothing else: no more than these is fetched before it is asked for. n may
	// be 0, and more than the archive has.
	OpenTail(ctx context.Context, key string, n int64) (Object, error)
}

// OpenTail opens the current archive of key as TailOpener.OpenTail does, or as
// Store.Open where the driver has no other way.
func OpenTail(ctx context.Context, s Store, key string, n int64) (Object, error) {
	if t, ok := s.(TailOpener); ok {
		return t.OpenTail(ctx, key, n)
	}
	return s.Open(ctx, key)
}

// Syncer is what a Store can be besides: one in which what can be seen may not be
// durable yet, since the write that made it has failed or is not over.
type Syncer interface {
	// Sync makes durable what key has now: its archive, or that there is none.
	Sync(ctx context.Context, key string) error
}

// Sync makes durable what key has now. A reader that takes what it saw in the store
// for a commit that is done calls it first.
func Sync(ctx context.Context, s Store, key string) error {
	if syncer, ok := s.(Syncer); ok {
		return syncer.Sync(ctx, key)
	}
	return nil
}

// Keeper is what a Store can be besides: one that keeps an archive under a second key at
// little cost. The drivers of this module all are.
type Keeper interface {
	// Keep makes the archive of key, which is of exactly revision rev, the archive of the
	// key as too, durably. An archive that as has already is the same one, and stays. Both
	// are independent from then on: a Put of one leaves the other as it is. ErrConflict or
	// ErrNotExist where key has another archive, or none. An error that is
	// errors.ErrUnsupported means that this cannot be done, and nothing was.
	Keep(ctx context.Context, key string, rev Revision, as string) error
	// Drop removes an archive that Keep has made, of the revision that a list showed. Of one
	// that is gone the error is nil, ErrNotExist or ErrConflict, as the store says it.
	Drop(ctx context.Context, as string, rev Revision) error
}

// Writable asks, without writing, whether a Put of key is likely to be allowed,
// so that a read-only store is found out before the work and not after it. Nil
// where the driver cannot tell. Errors as Put.
func Writable(ctx context.Context, s Store, key string) error {
	if asked, ok := s.(interface {
		Writable(ctx context.Context, key string) error
	}); ok {
		return asked.Writable(ctx, key)
	}
	return nil
}

// suffix is what every archive's name ends with.
const suffix = ".tar.gz"
