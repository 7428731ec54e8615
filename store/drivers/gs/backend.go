package gs

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"gocloud.dev/blob"
	"google.golang.org/api/googleapi"

	"github.com/workdir/workdir/doctor"
	gsdoctor "github.com/workdir/workdir/doctor/gs"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// backend is one bucket. It is immutable.
type backend struct {
	cloud.Blobs
	bucket    string
	close     func() error
	anonymous bool
	pause     time.Duration // before the first retry; grows
	identity  any           // comparable; equal for backends with the same credentials and server
}

func newBackend(bucket string, open func(context.Context) (*blob.Bucket, error)) *backend {
	b := &backend{bucket: bucket, close: func() error { return nil }, pause: firstPause}
	b.Open, b.Dialect, b.Name, b.Escaped, b.PageSize = open, dialect{}, "gs://"+bucket, []string{"../"}, listPage
	b.Tried = []cloud.Kind{cloud.KindPut, cloud.KindComplete, cloud.KindCopy}
	return b
}

// Close implements cloud.Backend.
func (b *backend) Close() error { return b.close() }

// Doctor implements cloud.Diagnoser.
func (b *backend) Doctor() *doctor.Bucket {
	source := "" // those that Google's libraries find
	switch own, isOwn := b.identity.(config); {
	case b.anonymous:
		source = "none are used (anonymous): the bucket must be open to all"
	case !isOwn:
		source = "those of the client that the program made"
	case own.endpoint == "" && os.Getenv(emulator) != "":
		source = "none are sent to the emulator that " + emulator + " names"
	}
	return gsdoctor.Bucket(b.handle, b.Place, source)
}

// handle returns the bucket, for requests without retries: package cloud retries.
func (b *backend) handle(ctx context.Context) (*storage.BucketHandle, error) {
	opened, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	var c *storage.Client
	opened.As(&c)
	return c.Bucket(b.bucket).Retryer(retryNever), nil
}

// retryNever disables the library's retries: package cloud retries.
var retryNever = storage.WithPolicy(storage.RetryNever)

// Get implements cloud.Backend.
func (b *backend) Get(ctx context.Context, name string, off, length int64, rev store.Revision) (cloud.Body, error) {
	return b.Blobs.Get(withDownload(ctx), name, off, length, rev)
}

// dialect implements cloud.Dialect with the types of Google Cloud Storage.
type dialect struct{}

// Reading implements cloud.Dialect. It reads the stored bytes: otherwise an object whose
// Content-Encoding is gzip would arrive decompressed.
func (dialect) Reading(as func(any) bool, _ int64, rev store.Revision) error {
	return replaceHandle(as, func(o *storage.ObjectHandle) (*storage.ObjectHandle, error) {
		o = o.ReadCompressed(true).Retryer(retryNever)
		if rev == "" {
			return o, nil
		}
		generation, err := parseRevision(rev)
		return o.Generation(generation), err
	})
}

// replaceHandle replaces gocloud's handle of the object.
func replaceHandle(as func(any) bool, with func(*storage.ObjectHandle) (*storage.ObjectHandle, error)) error {
	var o **storage.ObjectHandle
	if !as(&o) {
		return errors.New("gocloud.dev has no object of Google Cloud Storage")
	}
	changed, err := with(*o)
	if err == nil {
		*o = changed
	}
	return err
}

// Opened implements cloud.Dialect.
func (dialect) Opened(r *blob.Reader, _ int64) (cloud.Attributes, error) {
	var of *storage.Reader
	r.As(&of)
	return cloud.Attributes{Revision: revision(of.Attrs.Generation), Size: of.Attrs.Size, ModTime: of.Attrs.LastModified}, nil
}

// Attributes implements cloud.Dialect.
func (dialect) Attributes(a *blob.Attributes) (cloud.Attributes, error) {
	var of storage.ObjectAttrs
	a.As(&of)
	return attributes(&of), nil
}

// listPage is the maximum number of objects that Google lists by one request.
const listPage = 1000

// Listing implements cloud.Dialect.
func (dialect) Listing(as func(any) bool, r cloud.PageRequest) error {
	var q *storage.Query
	if !as(&q) {
		return nil
	}
	q.Prefix, q.StartOffset, q.Projection = r.Prefix, r.Start, storage.ProjectionNoACL
	return q.SetAttrSelection([]string{"Name", "Generation", "Size", "Updated"})
}

// Listed implements cloud.Dialect.
func (dialect) Listed(o *blob.ListObject) cloud.Listed {
	var of storage.ObjectAttrs
	o.As(&of)
	return cloud.Listed{Name: of.Name, Attributes: attributes(&of)}
}

// Tidy implements cloud.Dialect.
func (dialect) Tidy(err error) error { return tidy(err) }

// Pauses between retries made here rather than by package cloud.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

func (b *backend) backoff() storage.RetryOption {
	return storage.WithBackoff(gax.Backoff{Initial: b.pause, Max: longestPause, Multiplier: 2})
}

// newWriter begins to write an archive under a condition, in requests of chunk bytes.
func (b *backend) newWriter(ctx context.Context, name string, chunk int, cond cloud.Condition, retry ...storage.RetryOption) (*blob.Writer, *storage.Writer, error) {
	bucket, err := b.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	var sdk *storage.Writer
	w, err := bucket.NewWriter(ctx, name, &blob.WriterOptions{
		ContentType:  "application/gzip",
		CacheControl: "no-store", // a public object would be cached for an hour
		BufferSize:   chunk,
		BeforeWrite: func(as func(any) bool) error {
			err := conditional(as, cond, retry...)
			as(&sdk) // creates the writer, for the object with the condition
			return err
		},
	})
	return w, sdk, b.SDKError(err)
}

// conditional makes a request replace cond.Replace, or nothing.
func conditional(as func(any) bool, cond cloud.Condition, retry ...storage.RetryOption) error {
	return replaceHandle(as, func(o *storage.ObjectHandle) (*storage.ObjectHandle, error) {
		c, err := conditions(cond)
		return o.If(c).Retryer(retry...), err
	})
}

func conditions(cond cloud.Condition) (storage.Conditions, error) {
	if cond.Replace == "" {
		return storage.Conditions{DoesNotExist: true}, nil
	}
	generation, err := parseRevision(cond.Replace)
	return storage.Conditions{GenerationMatch: generation}, err
}

// Put sends the checksum along, so that Google refuses other bytes.
func (b *backend) Put(ctx context.Context, name string, body []byte, cond cloud.Condition) (cloud.Attributes, error) {
	// All in one request, which the transport can retry if a connection was closed before it.
	w, sdk, err := b.newWriter(ctx, name, len(body)+1, cond, retryNever)
	if err != nil {
		return cloud.Attributes{}, err
	}
	sdk.CRC32C, sdk.SendCRC32C = crc32.Checksum(body, castagnoli), true
	_, err = w.Write(body)
	if closed := w.Close(); closed != nil {
		err = closed // the reason why the write failed
	}
	if err != nil {
		return cloud.Attributes{}, tidyWrite(b.SDKError(err))
	}
	return attributes(sdk.Attrs()), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Delete implements cloud.Backend.
func (b *backend) Delete(ctx context.Context, name string, rev store.Revision) error {
	h, err := b.handle(ctx)
	if err != nil {
		return err
	}
	c, err := conditions(cloud.Condition{Replace: rev})
	if err != nil {
		return err
	}
	return tidy(h.Object(name).If(c).Delete(ctx))
}

// Accessible lists one object beside name. Getting the bucket would require
// storage.buckets.get, which users of its objects may lack; and if permissions are granted for
// a folder, only that folder can be listed.
func (b *backend) Accessible(ctx context.Context, name string) error {
	_, err := b.Page(ctx, cloud.PageRequest{Prefix: name[:strings.LastIndex(name, "/")+1], Size: 1})
	return err
}

func attributes(a *storage.ObjectAttrs) cloud.Attributes {
	return cloud.Attributes{Revision: revision(a.Generation), Size: a.Size, ModTime: a.Updated}
}

func revision(generation int64) store.Revision {
	return store.Revision(strconv.FormatInt(generation, 10))
}

// parseRevision returns the generation. The error is Changed: no object can have any other
// revision.
func parseRevision(rev store.Revision) (int64, error) {
	generation, err := strconv.ParseInt(string(rev), 10, 64)
	if err != nil || generation <= 0 || revision(generation) != rev {
		return 0, cloud.Means(cloud.Changed, "", fmt.Errorf("revision %q is not a generation of an object", string(rev)))
	}
	return generation, nil
}

// tidy makes an error of the library fit for a message: without the address of an upload,
// which works like a credential, and with the text of an XML answer.
func tidy(err error) error {
	var sent *url.Error
	var answer *googleapi.Error
	switch {
	case errors.As(err, &sent):
		return sent.Err
	case errors.As(err, &answer) && answer.Message == "":
		var text struct{ Message, Details string }
		if xml.Unmarshal([]byte(answer.Body), &text) != nil || text.Message == "" {
			return err
		}
		readable := *answer
		readable.Message = strings.TrimSpace(text.Message + " " + text.Details)
		return &readable
	}
	return err
}

// tidyWrite is tidy for a write, where "not found" means the bucket.
func tidyWrite(err error) error {
	err = tidy(err)
	var answer *googleapi.Error
	if errors.As(err, &answer) && answer.Code == 404 {
		return fmt.Errorf("%w: %w", storage.ErrBucketNotExist, err)
	}
	return err
}
