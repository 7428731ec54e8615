// Package cloud is the common part of the cloud drivers: a [store.Store] over the few requests
// of each cloud, its [Backend].
//
// It decides when bytes are fetched and sent, in how many concurrent parts, what is retried,
// which answer is believed, and what a refusal means to the user. It knows no cloud, no
// credentials and no SDK: those belong to the drivers.
//
// # One hard idea
//
// A write becomes visible by exactly one request: a Put, or the Complete of an Upload.
// Everything before it can be abandoned without a trace. Once it has been sent, only a
// definite answer counts: it is not cancelled but waited for, within a bound, and if the
// connection is lost or the store fails the error is [store.ErrUnknown], which [store.Commit]
// resolves.
//
// # Memory
//
// An upload holds at most UploadParts parts and the one being filled, a reader at most
// ReadParts parts, whatever the archive's size.
package cloud

import (
	"context"
	"io"
	"time"

	"github.com/workdir/workdir/store"
)

// Backend is one bucket of one cloud. Each method is a request. Names are those of objects,
// exactly as sent. All methods may be called from several goroutines. [Blobs] implements the
// reading half.
//
// A method may retry requests that are safe to repeat. Its error is the SDK's own, which
// Classify understands, or a [Refused], or the context's.
type Backend interface {
	Bucket() string              // for messages, without secrets: "s3://name"
	Endpoint() string            // host and port, or "" if the SDK decides; identifies the bucket, with Bucket
	Tries() []Kind               // requests whose conditions the server may ignore, and that are therefore tested first
	CheckName(name string) error // refuses names that are invalid in this bucket
	Close() error

	// Get opens length bytes of an object from off, or fewer at its end. A negative off
	// requests the last -off bytes, whatever length is, and needs HasTail. A non-empty rev
	// pins the read: another object in its place is a Changed error. The attributes are those
	// of the whole object. At or beyond its end the error is OutOfRange, or the Body is empty.
	Get(ctx context.Context, name string, off, length int64, rev store.Revision) (Body, error)
	HasTail() bool
	Head(ctx context.Context, name string) (Attributes, error)
	Page(ctx context.Context, r PageRequest) (Page, error)
	// Accessible checks that the bucket exists and that the object of a name would be visible
	// in it, so that "not found" refers to the object.
	Accessible(ctx context.Context, name string) error

	// Put stores body as an object by one request, under a condition, with a checksum that
	// the cloud verifies.
	Put(ctx context.Context, name string, body []byte, cond Condition) (Attributes, error)
	// Upload begins an upload of several parts, under the condition that will be passed to
	// Complete; a cloud that checks it early may refuse a Part because of it. Parts may be
	// copied from src, which may be nil. errors.ErrUnsupported if nothing can be copied from
	// src. ctx carries values only: Complete or Abort ends the upload.
	Upload(ctx context.Context, name string, cond Condition, src *Source) (Upload, error)
	// Delete removes an object if its revision is rev. If it has disappeared since the caller
	// saw it the error is NotFound or Changed.
	Delete(ctx context.Context, name string, rev store.Revision) error

	Classify(err error) Refusal
}

// Kind is a kind of request that has a condition.
type Kind string

// Kinds of requests.
const (
	KindPut      Kind = "put"
	KindComplete Kind = "complete" // of an upload
	KindDelete   Kind = "delete"
	KindCopy     Kind = "copy" // of parts of another object, and the Complete of such parts
)

// Source is an object from which an upload copies parts.
type Source struct {
	Backend Backend
	Name    string
	Attributes
}

// Upload is an upload of several parts that is not visible yet.
type Upload interface {
	MaxParts() int // how many may be sent concurrently; 1 if the order matters
	// Kept returns the first part of a range of the source that the cloud can copy, if before
	// bytes are waiting to be sent as a separate part in front of it. Both results are end if
	// there is none.
	Kept(off, end, before int64) (from, to int64)
	// Part sends part number n, from 1 on. It does not use p after it returns. If MaxParts is
	// 1 its error is final: the driver has done all possible retries.
	Part(ctx context.Context, n int, p []byte) error
	// Copy makes the cloud copy a range of the source as part n, at the revision of the
	// source.
	Copy(ctx context.Context, n int, off, end int64) error
	// Complete makes the object visible, under a condition. Preconditions: every part was
	// sent.
	Complete(ctx context.Context, cond Condition) (Attributes, error)
	// Abort ends the upload, and leaves nothing at the store. It may be called twice, and
	// after a failed Complete. Preconditions: no part is in flight.
	Abort(ctx context.Context) error
}

// Condition says which object a write replaces: that of revision Replace, or, if Replace is
// empty, none.
type Condition struct {
	Replace store.Revision
}

// Attributes of an object.
type Attributes struct {
	Revision store.Revision // ETag without quotes, generation
	Size     int64          // bytes; ignored after a write
	ModTime  time.Time      // after a write the time of the answer suffices
}

// Body is an object, or a part of it, being read.
type Body struct {
	io.ReadCloser
	Attributes
}

// PageRequest is a request for a page of a list.
type PageRequest struct {
	Prefix string
	Deep   bool   // all names that begin with Prefix; else those without a slash behind it
	Start  string // the first name, for a list that begins in the middle; the page may begin earlier
	Token  []byte // Page.Next of the previous page; nil for the first
	Size   int    // the maximum number; 0 is as many as the cloud lists per request
}

// Page is a part of a list, in the order of names.
type Page struct {
	Objects []Listed
	Next    []byte // Token of the next page; nil after the last
}

// Listed is an object in a list, or, with a Name that ends with a slash, a prefix of names.
type Listed struct {
	Name string
	Attributes
}
