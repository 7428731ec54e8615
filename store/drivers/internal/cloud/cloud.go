// Package cloud is what the drivers of the clouds share: a [store.Store] over the few
// requests that each cloud has, its [Backend].
//
// It decides when bytes are fetched and sent, in how many parts at once, what is tried
// again, which answer is believed, and what a refusal means to the user. It knows no cloud,
// no credentials and no SDK: those are the drivers'.
//
// # One hard idea
//
// A write becomes visible by exactly one request: a Put, or the Complete of an Upload.
// Everything before it can be given up without a trace. Once it was sent, only a definite
// answer counts: it is not cancelled but waited for, within a bound, and where the
// connection is lost or the store is out of order the error is [store.ErrUnknown], which
// [store.Commit] resolves.
//
// # Memory
//
// An upload holds at most UploadParts parts and the one that is being filled, a reader at
// most ReadParts parts, whatever the archive's size.
package cloud

import (
	"context"
	"io"
	"time"

	"github.com/workdir/workdir/store"
)

// Backend is one bucket of one cloud. Each method is a request. Names are those of objects,
// exactly as they are sent. All methods may be called from several goroutines. [Blobs] has
// the reading half.
//
// A method may repeat by itself what is safe to repeat. Its error is the SDK's own, which
// Classify understands, or a [Refused], or the context's.
type Backend interface {
	Bucket() string              // for messages, without secrets: "s3://name"
	Endpoint() string            // host and port, or "" where the SDK decides; identifies the bucket, with Bucket
	Tries() []Kind               // requests whose conditions the server may ignore, so that they are tried first
	CheckName(name string) error // refuses the names that this bucket cannot have
	Close() error

	// Get opens length bytes of an object from off, fewer where it ends before. A negative off
	// is the last -off bytes, whatever length is, and needs HasTail. A rev that is not empty
	// pins the read: another object in its place is a Changed error. The attributes are those
	// of the whole object. At or beyond its end the error is OutOfRange, or the Body empty.
	Get(ctx context.Context, name string, off, length int64, rev store.Revision) (Body, error)
	HasTail() bool
	Head(ctx context.Context, name string) (Attributes, error)
	Page(ctx context.Context, r PageRequest) (Page, error)
	// Accessible asks whether the bucket is there and the object of a name would be seen in
	// it, so that "not found" means the object.
	Accessible(ctx context.Context, name string) error

	// Put stores body as an object by one request, under a condition, with a checksum that
	// the cloud verifies.
	Put(ctx context.Context, name string, body []byte, cond Condition) (Attributes, error)
	// Upload begins an upload of several parts, under the condition that Complete will be
	// given; a cloud that looks at it early may refuse a Part because of it. Parts may be
	// copied from src, which may be nil. errors.ErrUnsupported where nothing can be copied
	// from src. ctx carries values only: Complete or Abort ends the upload.
	Upload(ctx context.Context, name string, cond Condition, src *Source) (Upload, error)
	// Delete removes an object if its revision is rev. One that is gone since the caller saw
	// it is a NotFound or a Changed error.
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

// Source is an object of which an upload copies parts.
type Source struct {
	Backend Backend
	Name    string
	Attributes
}

// Upload is an upload of several parts that is not visible yet.
type Upload interface {
	MaxParts() int // how many may be sent at once; 1 where the order matters
	// Kept returns the first part of a range of the source that the cloud can copy, where
	// before bytes wait to be sent as a part of their own in front of it. Both are end where
	// there is none.
	Kept(off, end, before int64) (from, to int64)
	// Part sends part number n, from 1 on. It keeps nothing of p when it returns. Where
	// MaxParts is 1 its error is final: the driver has tried again what could be.
	Part(ctx context.Context, n int, p []byte) error
	// Copy has the cloud copy a range of the source as part n, at the revision of the source.
	Copy(ctx context.Context, n int, off, end int64) error
	// Complete makes the object visible, under a condition. Preconditions: every part was
	// sent.
	Complete(ctx context.Context, cond Condition) (Attributes, error)
	// Abort ends the upload, and leaves nothing at the store. It may be called twice, and
	// after a Complete that failed. Preconditions: no part is under way.
	Abort(ctx context.Context) error
}

// Condition says which object a write takes the place of: that of revision Replace, or,
// where Replace is empty, none.
type Condition struct {
	Replace store.Revision
}

// Attributes of an object.
type Attributes struct {
	Revision store.Revision // ETag without quotes, generation
	Size     int64          // bytes; after a write it is not looked at
	ModTime  time.Time      // after a write the time of the answer will do
}

// Body is an object, or a part of it, that is being read.
type Body struct {
	io.ReadCloser
	Attributes
}

// PageRequest asks for a page of a list.
type PageRequest struct {
	Prefix string
	Deep   bool   // all names that begin with Prefix; else those without a slash behind it
	Start  string // the first name, for a list that does not begin at its beginning; the page may begin earlier
	Token  []byte // Page.Next of the page before; nil for the first
	Size   int    // how many at most; 0 is as many as the cloud lists at once
}

// Page is a part of a list, in the order of names.
type Page struct {
	Objects []Listed
	Next    []byte // Token of the next page; nil after the last
}

// Listed is an object in a list, or, with a Name that ends with a slash, a beginning of names.
type Listed struct {
	Name string
	Attributes
}
