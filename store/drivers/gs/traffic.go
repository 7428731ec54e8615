package gs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// singleRequests is a transport with one request at a time per connection. Over HTTP/2 all
// requests would share one, which is slower for large objects and stalls them all at once;
// Google's gcsfuse does the same.
func singleRequests() *http.Transport {
	t := cloud.DefaultTransport()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

// tokenRequests carries requests for credentials, which do not belong to the operation that
// needs them.
type tokenRequests struct{ base http.RoundTripper }

func (t tokenRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.base.RoundTrip(r.WithContext(cloud.Operation(r.Context(), "other")))
}

// requests carries the library's requests, and corrects its behaviour: see download and
// chunks.
type requests struct{ base http.RoundTripper }

func (t requests) RoundTrip(r *http.Request) (*http.Response, error) {
	if c, ok := r.Context().Value(chunksKey{}).(*chunks); ok {
		return t.base.RoundTrip(r.WithContext(c.operation(r)))
	}
	d, ok := r.Context().Value(downloadKey{}).(*download)
	if !ok {
		return t.base.RoundTrip(r)
	}
	if broken := d.broken.Load(); broken != nil {
		return nil, *broken
	}
	resp, err := t.base.RoundTrip(r)
	if err == nil {
		resp.Body = &downloadBody{resp.Body, d}
	}
	return resp, err
}

// download is one read. The library by itself requests the rest of a broken body, however
// often and however long each body stalls; here such a request is refused with the error of
// the body, and package cloud retries.
type download struct{ broken atomic.Pointer[error] }

type downloadKey struct{}

func withDownload(ctx context.Context) context.Context {
	return context.WithValue(ctx, downloadKey{}, &download{})
}

// downloadBody records its error.
type downloadBody struct {
	io.ReadCloser
	download *download
}

func (b *downloadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.download.broken.Store(&err)
	}
	return n, err
}

// chunks distinguishes the requests of one upload, which the library sends with the same
// context.
type chunks struct {
	ctx context.Context // of the upload
	ops sync.Map        // contexts of operations, by the Content-Range of what they send
}

type chunksKey struct{}

func withChunks(ctx context.Context) context.Context {
	return context.WithValue(ctx, chunksKey{}, &chunks{ctx: ctx})
}

// operation returns the context of a request. A request with the same bytes as another is a
// retry; the last one contains the total size.
func (c *chunks) operation(r *http.Request) context.Context {
	sends, kind := r.Header.Get("Content-Range"), "complete"
	switch {
	case sends == "" && r.URL.Query().Get("uploadType") == "resumable":
		kind = "upload"
	case strings.HasSuffix(sends, "/*"):
		kind = "part"
	}
	op, _ := c.ops.LoadOrStore(sends, cloud.Operation(c.ctx, kind))
	ctx, _ := op.(context.Context)
	return ctx
}
