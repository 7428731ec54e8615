package gs

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// backend is one bucket. It is immutable.
type backend struct {
	bucket    string
	client    func(context.Context) (*storage.Client, error)
	close     func() error
	endpoint  string
	anonymous bool
	pause     time.Duration // before a request is made for the second time; grows
	google    bool          // the server is Google's own, which honours conditions
	identity  any           // comparable; equal for backends whose requests are made with the same credentials at the same place
}

func (b *backend) Bucket() string   { return "gs://" + b.bucket }
func (b *backend) Endpoint() string { return b.endpoint }
func (b *backend) Close() error     { return b.close() }

// HonoursConditions tells Google's servers from emulators and what else an endpoint
// leads to.
func (b *backend) HonoursConditions() bool { return b.google }

// handle gives the bucket, for requests that are made once: the core tries again.
func (b *backend) handle(ctx context.Context) (*storage.BucketHandle, error) {
	c, err := b.client(ctx)
	if err != nil {
		return nil, err
	}
	return c.Bucket(b.bucket).Retryer(storage.WithPolicy(storage.RetryNever)), nil
}

// Pauses between tries that are made here, and not by the core.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

func (b *backend) backoff() storage.RetryOption {
	return storage.WithBackoff(gax.Backoff{Initial: b.pause, Max: longestPause, Multiplier: 2})
}

// object gives an object; at one generation, where rev is not empty.
func (b *backend) object(ctx context.Context, name string, rev store.Revision) (*storage.ObjectHandle, error) {
	h, err := b.handle(ctx)
	if err != nil {
		return nil, err
	}
	o := h.Object(name).ReadCompressed(true) // as it is stored, whatever its Content-Encoding
	if rev == "" {
		return o, nil
	}
	generation, err := parseRevision(rev)
	if err != nil {
		return nil, err
	}
	return o.Generation(generation), nil
}

// Get reads as the other methods do not, by the XML interface: the JSON interface
// would decompress an object whose Content-Encoding is gzip.
func (b *backend) Get(ctx context.Context, name string, off, length int64, rev store.Revision) (cloud.Body, error) {
	o, err := b.object(ctx, name, rev)
	if err != nil {
		return cloud.Body{}, err
	}
	r, err := o.NewRangeReader(withDownload(ctx), off, length)
	if err != nil {
		return cloud.Body{}, tidy(err)
	}
	body := cloud.Body{ReadCloser: r, Attributes: cloud.Attributes{
		Revision: revision(r.Attrs.Generation),
		Size:     r.Attrs.Size,
		ModTime:  r.Attrs.LastModified,
	}}
	if length >= 0 {
		body.ReadCloser = limited{io.LimitReader(r, length), r}
	}
	return body, nil
}

// limited is a body of which no more is read than was asked for.
type limited struct {
	io.Reader
	io.Closer
}

func (b *backend) Head(ctx context.Context, name string) (cloud.Attributes, error) {
	o, err := b.object(ctx, name, "")
	if err != nil {
		return cloud.Attributes{}, err
	}
	a, err := o.Attrs(ctx)
	if err != nil {
		return cloud.Attributes{}, tidy(err)
	}
	return attributes(a), nil
}

// Put sends the checksum along, so that Google refuses other bytes.
func (b *backend) Put(ctx context.Context, name string, body []byte, cond cloud.Condition) (cloud.Attributes, error) {
	o, err := b.conditional(ctx, name, cond)
	if err != nil {
		return cloud.Attributes{}, err
	}
	w := newWriter(ctx, o)
	w.ChunkSize = len(body) + 1 // all in one request, which the transport can send again if a connection was closed before it
	w.CRC32C, w.SendCRC32C = crc32.Checksum(body, castagnoli), true
	_, err = w.Write(body)
	if closed := w.Close(); closed != nil {
		err = closed // says why the write failed
	}
	if err != nil {
		return cloud.Attributes{}, tidyWrite(err)
	}
	return attributes(w.Attrs()), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newWriter gives a writer of an archive.
func newWriter(ctx context.Context, o *storage.ObjectHandle) *storage.Writer {
	w := o.NewWriter(ctx)
	w.ContentType = "application/gzip"
	w.CacheControl = "no-store" // an object that everybody may read would be cached for an hour
	return w
}

// conditional gives the object for a write that takes the place of cond.Replace.
func (b *backend) conditional(ctx context.Context, name string, cond cloud.Condition) (*storage.ObjectHandle, error) {
	o, err := b.object(ctx, name, "")
	if err != nil {
		return nil, err
	}
	if cond.Replace == "" {
		return o.If(storage.Conditions{DoesNotExist: true}), nil
	}
	generation, err := parseRevision(cond.Replace)
	if err != nil {
		return nil, err
	}
	return o.If(storage.Conditions{GenerationMatch: generation}), nil
}

func (b *backend) Delete(ctx context.Context, name string, rev store.Revision) error {
	o, err := b.conditional(ctx, name, cloud.Condition{Replace: rev})
	if err != nil {
		return err
	}
	return tidy(o.Delete(ctx))
}

func (b *backend) List(ctx context.Context, prefix string, found func(name string, a cloud.Attributes) error) error {
	q := &storage.Query{Prefix: prefix, Delimiter: "/", Projection: storage.ProjectionNoACL}
	return b.list(ctx, q, found)
}

// ListAll implements cloud.Backend.
func (b *backend) ListAll(ctx context.Context, prefix string, found func(name string, a cloud.Attributes) error) error {
	return b.list(ctx, &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}, found)
}

// listPage is how many objects Google gives at once.
const listPage = 1000

// list asks page by page. Pages are tried again here, so that a long list need not
// be begun anew.
func (b *backend) list(ctx context.Context, q *storage.Query, found func(name string, a cloud.Attributes) error) error {
	if err := q.SetAttrSelection([]string{"Name", "Generation", "Size", "Updated"}); err != nil {
		return err
	}
	h, err := b.handle(ctx)
	if err != nil {
		return err
	}
	h = h.Retryer(storage.WithPolicy(storage.RetryAlways), storage.WithMaxAttempts(listTries), b.backoff())
	for token, more := "", true; more; more = token != "" {
		objects := h.Objects(cloud.Operation(ctx, "list"), q)
		objects.PageInfo().MaxSize, objects.PageInfo().Token = listPage, token
		if err := eachOfPage(objects, found); err != nil {
			return err
		}
		token = objects.PageInfo().Token
	}
	return nil
}

// eachOfPage calls found for the objects of one page.
func eachOfPage(objects *storage.ObjectIterator, found func(name string, a cloud.Attributes) error) error {
	for {
		a, err := objects.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return tidy(err)
		}
		if a.Prefix == "" {
			err = found(a.Name, attributes(a))
		}
		if err != nil || objects.PageInfo().Remaining() == 0 {
			return err
		}
	}
}

// listTries is how often a page is asked for.
const listTries = 4

// Accessible asks for one object beside name. To look at the bucket would take
// storage.buckets.get, which those who may use its objects need not have; and where
// permissions are given for a folder, only that folder can be listed.
func (b *backend) Accessible(ctx context.Context, name string) error {
	h, err := b.handle(ctx)
	if err != nil {
		return err
	}
	q := &storage.Query{Prefix: name[:strings.LastIndex(name, "/")+1], Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name"}); err != nil {
		return err
	}
	objects := h.Objects(ctx, q)
	objects.PageInfo().MaxSize = 1
	if _, err = objects.Next(); errors.Is(err, iterator.Done) {
		return nil
	}
	return tidy(err)
}

func attributes(a *storage.ObjectAttrs) cloud.Attributes {
	return cloud.Attributes{Revision: revision(a.Generation), Size: a.Size, ModTime: a.Updated}
}

func revision(generation int64) store.Revision {
	return store.Revision(strconv.FormatInt(generation, 10))
}

// badRevision is a revision that no object of Google Cloud Storage has.
type badRevision store.Revision

func (r badRevision) Error() string {
	return fmt.Sprintf("revision %q is no generation of an object", string(r))
}

// parseRevision gives the generation. The error is a badRevision.
func parseRevision(rev store.Revision) (int64, error) {
	generation, err := strconv.ParseInt(string(rev), 10, 64)
	if err != nil || generation <= 0 || revision(generation) != rev {
		return 0, badRevision(rev)
	}
	return generation, nil
}

// tidy makes an error of the library fit for a message: without the address of an
// upload, which is as good as a credential, and with the words of an answer in XML.
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

// tidyWrite is tidy for a write, of which only the bucket can be missing.
func tidyWrite(err error) error {
	err = tidy(err)
	var answer *googleapi.Error
	if errors.As(err, &answer) && answer.Code == 404 {
		return fmt.Errorf("%w: %w", storage.ErrBucketNotExist, err)
	}
	return err
}
