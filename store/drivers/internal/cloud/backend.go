package cloud

import (
	"context"
	"io"
	"time"

	"github.com/workdir/workdir/store"
)

// Backend is one bucket of one cloud: a request for each method, in the words of
// that cloud. Names are names of objects, exactly as they are sent; nothing in them
// is escaped or cleaned. All methods may be called from several goroutines.
//
// A method may try again by itself what is safe to try again; the SDKs do. Its error
// is the SDK's own, which Classify understands, or the context's.
type Backend interface {
	// Bucket names the bucket for messages, without secrets: "s3://name".
	Bucket() string
	// Endpoint is where it is: host and port, or "" where the SDK decides. Bucket
	// and Endpoint together identify the bucket within this process.
	Endpoint() string

	// Get opens length bytes of an object from off; fewer where it ends before,
	// and length -1 is all the rest. A rev that is not empty pins the read: another
	// object in its place is a Changed error. The attributes are those of the whole
	// object. The caller closes the Body. off may be at or beyond the object's end:
	// that is an OutOfRange error, or an empty Body, as the cloud has it.
	Get(ctx context.Context, name string, off, length int64, rev store.Revision) (Body, error)
	// Head tells of an object.
	Head(ctx context.Context, name string) (Attributes, error)
	// Put stores body as an object by one request, under a condition, with a
	// checksum that the cloud verifies before it accepts the bytes.
	Put(ctx context.Context, name string, body []byte, cond Condition) (Attributes, error)
	// Upload begins an upload of several parts. Nothing is visible before Complete.
	// cond is the one that Complete will be given, for clouds that want to know it
	// first; there its refusal may come from Part already. ctx carries values only:
	// it ends this call and not the upload, which Complete or Abort ends.
	Upload(ctx context.Context, name string, cond Condition) (Upload, error)
	// Delete removes an object if its revision is rev. The caller has seen that it
	// is there; one that is not there any more is a NotFound or a Changed error.
	Delete(ctx context.Context, name string, rev store.Revision) error
	// List lists the objects whose name is prefix, then a name without a slash; all
	// that begin with prefix where deep. Each call of the function that it returns
	// returns the next one, in any order, and io.EOF after the last. It asks for a page
	// when it needs one; after an error the next call asks for that page again.
	List(prefix string, deep bool) func(ctx context.Context) (name string, a Attributes, err error)
	// Accessible asks whether the bucket is there and its objects may be seen, so
	// that "not found" means the object. Nil if so. name is the object that was not
	// found, for clouds where permissions are given by prefix.
	Accessible(ctx context.Context, name string) error
	// Classify says what an error of these methods means.
	Classify(err error) Refusal
	// Close frees what the backend holds.
	Close() error
}

// Copier is a Backend that can copy an object on the server.
type Copier interface {
	// CopyFrom copies the object from of another bucket, at revision rev, to name,
	// under a condition on name. errors.ErrUnsupported where this pair of buckets, or this
	// size, cannot be copied so; then nothing was done.
	CopyFrom(ctx context.Context, src Backend, from string, rev store.Revision, name string, cond Condition) (Attributes, error)
}

// NameChecker is a Backend that cannot have every name. [Blobs] is one.
type NameChecker interface {
	CheckName(name string) error
}

// DeleteProber is a Backend whose servers are not all known to honour the condition
// of Delete, so that it is tried before the first one.
type DeleteProber interface {
	ProbesDelete() bool
}

// Conditional is a Backend that may know its server to honour every condition, so
// that none is tried before it is relied on. To try them costs some requests, and
// writes to one name in quick succession, which Google Cloud Storage limits.
type Conditional interface {
	HonoursConditions() bool
}

// Upload is an upload of several parts that is not visible yet.
type Upload interface {
	// MaxParts is how many parts may be sent at once: 1 where the cloud wants them
	// one after the other. At least 1.
	MaxParts() int
	// Part sends part number n, from 1 on; with MaxParts of 1 in that order. It
	// keeps nothing of p when it returns. All parts but the last are of a size that
	// PartSize gives. Where MaxParts is 1 its error is final: the driver has tried
	// again what could be, and only Abort may follow.
	Part(ctx context.Context, n int, p []byte) error
	// Complete makes the object visible, under a condition. Preconditions: every
	// part was sent.
	Complete(ctx context.Context, cond Condition) (Attributes, error)
	// Abort gives the upload up, and leaves nothing at the store. It may be called
	// after a Complete that failed, and twice. No Part is under way any more.
	Abort(ctx context.Context) error
}

// Condition says which object a write takes the place of: that of revision Replace,
// or, where Replace is empty, none.
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
)

// Refusal is what an error means to the user.
type Refusal struct {
	Meaning Meaning
	Todo    string // how to mend it, naming permission, option or variable; "" where there is nothing special to say
}
