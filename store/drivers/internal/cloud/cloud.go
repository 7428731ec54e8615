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

// Tailer is what a Backend can be besides: one that reads the end of an object whose size
// nobody knows.
type Tailer interface {
	HasTail() bool
	// Tail opens the last n bytes of an object, all of it where it has no more; n is at
	// least 1. In all else it is as Get. An empty object is an OutOfRange error.
	Tail(ctx context.Context, name string, n int64) (Body, error)
}

// Backend is one bucket of one cloud: a request for each method, in the words of that
// cloud. Names are names of objects, exactly as they are sent. All methods may be called
// from several goroutines. [Blobs] has the reading half.
//
// A method may try again by itself what is safe to try again. Its error is the SDK's own,
// which Classify understands, or the context's.
type Backend interface {
	// Bucket names the bucket for messages, without secrets: "s3://name".
	Bucket() string
	// Endpoint is where it is: host and port, or "" where the SDK decides. Bucket and
	// Endpoint together identify the bucket within this process.
	Endpoint() string
	// Tries are the kinds of requests whose conditions the server may ignore. Each is tried
	// on a scratch object before the first one that matters.
	Tries() []Kind
	// CheckName refuses the names that this bucket cannot have.
	CheckName(name string) error

	// Get opens length bytes of an object from off; fewer where it ends before. A rev that
	// is not empty pins the read: another object in its place is a Changed error. The
	// attributes are those of the whole object. off may be at or beyond the object's end:
	// that is an OutOfRange error, or an empty Body, as the cloud has it.
	Get(ctx context.Context, name string, off, length int64, rev store.Revision) (Body, error)
	// Head returns the attributes of an object.
	Head(ctx context.Context, name string) (Attributes, error)
	// Page lists objects by one request.
	Page(ctx context.Context, r PageRequest) (Page, error)
	// Accessible asks whether the bucket is there and its objects may be seen, so that "not
	// found" means the object. name is the object that was not found, for clouds where
	// permissions are given by prefix.
	Accessible(ctx context.Context, name string) error

	// Put stores body as an object by one request, under a condition, with a checksum that
	// the cloud verifies before it accepts the bytes.
	Put(ctx context.Context, name string, body []byte, cond Condition) (Attributes, error)
	// Upload begins an upload of several parts, under the condition that Complete will be
	// given; a cloud that looks at it early may refuse a Part because of it. Parts may be
	// copied from src, which may be nil. errors.ErrUnsupported where nothing can be copied
	// from src. ctx carries values only: Complete or Abort ends the upload.
	Upload(ctx context.Context, name string, cond Condition, src *Source) (Upload, error)
	// Delete removes an object if its revision is rev. The caller has seen that it is
	// there; one that is not there any more is a NotFound or a Changed error.
	Delete(ctx context.Context, name string, rev store.Revision) error

	// Classify says what an error of these methods means.
	Classify(err error) Refusal
	// Close frees what the backend holds.
	Close() error
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
	// MaxParts is how many parts may be sent at once: 1 where the cloud wants them one after
	// the other.
	MaxParts() int
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
	// Abort gives the upload up, and leaves nothing at the store. It may be called after a
	// Complete that failed, and twice. No part is under way any more.
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
	Size     int64          // bytes
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

// Meaning is what a refusal comes down to.
type Meaning int

// Meanings of a refusal.
const (
	Other        Meaning = iota // definite, and none of the below
	NotFound                    // no such object; or, on some clouds, no such bucket, or no permission to know
	NoBucket                    // the bucket is not there, or elsewhere
	Denied                      // these credentials may not do that
	Unidentified                // no credentials, or wrong or expired ones
	Changed                     // the condition does not hold: another object is there, or none
	OutOfRange                  // a read that begins at or beyond the end
	Busy                        // not done, try again: 429, 409 of a concurrent write, 503 SlowDown
	Broken                      // no definite answer: connection lost, 5xx, timeout
	BadOption                   // the request cannot be made: wrong region, clock, endpoint, option
	Full                        // quota or space
	Unsupported                 // the server does not know this request
	unsent                      // nothing was sent: no address, no connection
)

// Refusal is what an error means to the user.
type Refusal struct {
	Meaning Meaning
	Todo    string // how to mend it, naming permission, option or variable; "" where there is nothing special to say
}
