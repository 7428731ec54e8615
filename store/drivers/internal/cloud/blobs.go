package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"gocloud.dev/blob"

	"github.com/workdir/workdir/store"
)

// Blobs is the half of a Backend that gocloud implements for every cloud: it reads and lists
// objects. Drivers embed it. It is immutable once used.
type Blobs struct {
	Open     func(context.Context) (*blob.Bucket, error) // always returns the same bucket
	Dialect  Dialect
	Name     string   // of the bucket; see Backend.Bucket
	Place    string   // see Backend.Endpoint
	Tried    []Kind   // see Backend.Tries
	Escaped  []string // substrings of names that gocloud would escape
	PageSize int      // how many objects the cloud lists per request
	Tails    bool     // the last bytes of an object can be requested
}

// Dialect is the part that needs a cloud's own types. as converts to these types, as in
// gocloud's hooks.
type Dialect interface {
	// Reading prepares a read: it pins the read to rev unless that is empty, and requests the
	// last -off bytes if off is negative.
	Reading(as func(any) bool, off int64, rev store.Revision) error
	// Opened returns the attributes of the object that r reads from off.
	Opened(r *blob.Reader, off int64) (Attributes, error)
	// Attributes returns those that matter here.
	Attributes(a *blob.Attributes) (Attributes, error)
	// Listing prepares the request for a page of a list.
	Listing(as func(any) bool, r PageRequest) error
	// Listed returns the cloud's name of an object in a list; "" for one that stands for a
	// directory.
	Listed(o *blob.ListObject) Listed
	// Tidy makes an error of the SDK fit for a message.
	Tidy(err error) error
}

// Opened is for Blobs.Open if the bucket is already open.
func Opened(bucket *blob.Bucket) func(context.Context) (*blob.Bucket, error) {
	return func(context.Context) (*blob.Bucket, error) { return bucket, nil }
}

// Bucket implements Backend.
func (b *Blobs) Bucket() string { return b.Name }

// Endpoint implements Backend.
func (b *Blobs) Endpoint() string { return b.Place }

// Tries implements Backend.
func (b *Blobs) Tries() []Kind { return b.Tried }

// HasTail implements Backend.
func (b *Blobs) HasTail() bool { return b.Tails }

// Close implements Backend for drivers without resources.
func (b *Blobs) Close() error { return nil }

// Get implements Backend.
func (b *Blobs) Get(ctx context.Context, name string, off, length int64, rev store.Revision) (body Body, err error) {
	defer Guard(&err)
	bucket, err := b.Open(ctx)
	if err != nil {
		return Body{}, err
	}
	if off < 0 {
		length = -1
	}
	r, err := bucket.NewRangeReader(ctx, name, max(0, off), length, &blob.ReaderOptions{
		BeforeRead: func(as func(any) bool) error { return b.Dialect.Reading(as, off, rev) },
	})
	if err != nil {
		return Body{}, b.SDKError(err)
	}
	if off < 0 {
		off = max(0, r.Size()+off)
	}
	a, err := b.Dialect.Opened(r, off)
	if err != nil {
		_ = r.Close() // of an unused answer
		return Body{}, err
	}
	return Body{ReadCloser: reader{r, b}, Attributes: a}, nil
}

// reader reads an object. Its errors are the SDK's.
type reader struct {
	*blob.Reader
	b *Blobs
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	return n, r.b.SDKError(err)
}

// Head implements Backend.
func (b *Blobs) Head(ctx context.Context, name string) (a Attributes, err error) {
	defer Guard(&err)
	bucket, err := b.Open(ctx)
	if err != nil {
		return Attributes{}, err
	}
	got, err := bucket.Attributes(ctx, name)
	if err != nil {
		return Attributes{}, b.SDKError(err)
	}
	return b.Dialect.Attributes(got)
}

// Page implements Backend.
func (b *Blobs) Page(ctx context.Context, r PageRequest) (page Page, err error) {
	defer Guard(&err)
	bucket, err := b.Open(ctx)
	if err != nil {
		return Page{}, err
	}
	delimiter, token := "/", r.Token
	if r.Deep {
		delimiter = ""
	}
	if token == nil {
		token = blob.FirstPageToken
	}
	if r.Size == 0 || r.Size > b.PageSize {
		r.Size = b.PageSize
	}
	objects, next, err := bucket.ListPage(ctx, token, r.Size, &blob.ListOptions{
		Prefix: r.Prefix, Delimiter: delimiter,
		BeforeList: func(as func(any) bool) error { return b.Dialect.Listing(as, r) },
	})
	if err != nil {
		return Page{}, b.SDKError(err)
	}
	for _, o := range objects {
		l := Listed{Name: o.Key}
		if !o.IsDir {
			l = b.Dialect.Listed(o)
		}
		if l.Name != "" {
			page.Objects = append(page.Objects, l)
		}
	}
	page.Next = next
	return page, nil
}

// Escape matches gocloud's escapes of characters that it considers unfit for a name.
var Escape = regexp.MustCompile(`__0x[0-9A-Fa-f]+__`)

// CheckName implements Backend. It refuses names that gocloud would change, so that a
// workspace is the same object for us as for other tools.
func (b *Blobs) CheckName(name string) error {
	found := Escape.FindString(name)
	for _, s := range b.Escaped {
		if strings.Contains(name, s) {
			found = s
		}
	}
	if found == "" {
		return nil
	}
	return fmt.Errorf("%q in the object's name, which gocloud.dev escapes", found)
}

// SDKError returns the SDK's own error within one of gocloud's, fit for a message. Nil and
// io.EOF stay.
func (b *Blobs) SDKError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if wrapped, ok := err.(interface{ Unwrap() []error }); ok {
		err = wrapped.Unwrap()[0]
	}
	return b.Dialect.Tidy(err)
}

// Guard must be deferred, and turns a panic into an error. gocloud's drivers rely on headers
// that other servers' answers may lack.
func Guard(err *error) {
	if p := recover(); p != nil {
		*err = Means(BadOption, "what answers is no store of this kind; look at the address in the URL's options", fmt.Errorf("the answer makes no sense: %v", p))
	}
}

// errLooked ends a request of gocloud before it is sent.
var errLooked = errors.New("only looking")

// LookAtWrite calls look with the converter of a write of an object x, which is not sent. The
// error is store.ErrURL if look returns false because the bucket belongs to another driver.
func LookAtWrite(bucket *blob.Bucket, driver string, look func(name string, as func(any) bool) bool) error {
	const name = "x"
	found := false
	_, _ = bucket.NewWriter(context.Background(), name, &blob.WriterOptions{
		ContentType: "application/gzip", // else gocloud waits for bytes to detect it
		BeforeWrite: func(as func(any) bool) error {
			found = look(name, as)
			return errLooked
		},
	})
	if !found {
		return BadBucket(driver)
	}
	return nil
}

// BadBucket is the error for a bucket of another gocloud driver.
func BadBucket(driver string) error {
	return &store.Error{Op: "open", Object: "bucket", Kind: store.ErrURL, Cause: errors.New("it was not opened by gocloud.dev/blob/" + driver), Todo: "give FromBucket one that was"}
}
