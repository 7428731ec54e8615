package cloud

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/workdir/workdir/store"
)

// Transport carries the requests of stores: it gives up a connection that is
// stalled, and counts. Drivers put it beneath their SDK's HTTP client.
type Transport struct {
	base    http.RoundTripper
	stall   time.Duration
	traffic traffic // of all stores, and what the SDK asks by itself
}

// NewTransport gives a Transport over base, which has the user's proxies and
// certificates; nil is [DefaultTransport].
func NewTransport(base http.RoundTripper) *Transport {
	if base == nil {
		base = DefaultTransport()
	}
	return &Transport{base: base, stall: stallTime}
}

// stallTime is how long a request may be under way without a byte in either
// direction.
const stallTime = time.Minute

// DefaultTransport is the standard library's transport, tuned by [Tune].
func DefaultTransport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	return Tune(t.Clone())
}

// Tune makes t fit for parts in parallel: it keeps as many connections as there
// are parts, and decompresses nothing. It returns t.
func Tune(t *http.Transport) *http.Transport {
	t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, 4*(UploadParts+ReadParts))
	t.MaxIdleConns = 0
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 64<<10 // bytes
	t.DisableCompression = true
	return t
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Traffic gives what went through t so far.
func (t *Transport) Traffic() store.Traffic { return t.traffic.sum() }

// count adds to what went over the network for an operation.
func (t *Transport) count(op *operation, more store.Requests) {
	t.traffic.add(op.kind, more)
	if op.traffic != nil {
		op.traffic.add(op.kind, more)
	}
}

// traffic counts requests. The zero value is ready for use.
type traffic struct {
	mu     sync.Mutex
	byKind store.Traffic // guarded by mu
}

func (t *traffic) sum() store.Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := make(store.Traffic, len(t.byKind))
	maps.Copy(sum, t.byKind)
	return sum
}

func (t *traffic) add(kind string, more store.Requests) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKind == nil {
		t.byKind = store.Traffic{}
	}
	sum := t.byKind[kind]
	sum.Count += more.Count
	sum.Retries += more.Retries
	sum.Sent += more.Sent
	sum.Received += more.Received
	t.byKind[kind] = sum
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	op := operationOf(r.Context())
	t.count(op, store.Requests{Count: 1, Retries: min(1, op.sent.Add(1)-1)})
	ctx, cancel := context.WithCancelCause(r.Context())
	x := &exchange{transport: t, op: op, ctx: ctx, cancel: cancel}
	x.timer = time.AfterFunc(t.stall, func() { cancel(&StalledError{For: t.stall}) })
	resp, err := t.base.RoundTrip(x.request(r))
	x.timer.Stop()
	if err != nil {
		err = x.explain(err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &responseBody{x: x, body: resp.Body}
	return resp, nil
}

// StalledError says that a connection carried no byte for a time.
type StalledError struct {
	For time.Duration
}

func (e *StalledError) Error() string { return fmt.Sprintf("stalled: no byte for %v", e.For) }

// Timeout implements net.Error.
func (e *StalledError) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *StalledError) Temporary() bool { return true }

// exchange is one request and its response.
type exchange struct {
	transport *Transport
	op        *operation
	ctx       context.Context
	cancel    context.CancelCauseFunc
	timer     *time.Timer // runs while a byte is expected
}

// request gives r with a body that is watched.
func (x *exchange) request(r *http.Request) *http.Request {
	getBody := r.GetBody
	r = r.WithContext(x.ctx)
	r.Body = x.requestBody(r.Body)
	if getBody != nil {
		r.GetBody = func() (io.ReadCloser, error) {
			body, err := getBody()
			return x.requestBody(body), err
		}
	}
	return r
}

func (x *exchange) requestBody(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	return &requestBody{x: x, ReadCloser: body}
}

// explain gives err, or, where the request was stalled, that.
func (x *exchange) explain(err error) error {
	if stalled, ok := context.Cause(x.ctx).(*StalledError); ok && err != io.EOF {
		return stalled
	}
	return err
}

// requestBody is what is sent.
type requestBody struct {
	io.ReadCloser
	x *exchange
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.timer.Reset(b.x.transport.stall)
	b.x.transport.count(b.x.op, store.Requests{Sent: int64(n)})
	return n, err
}

// responseBody is what is received. The time between two Reads is the reader's.
type responseBody struct {
	body io.ReadCloser
	x    *exchange
}

func (b *responseBody) Read(p []byte) (int, error) {
	b.x.timer.Reset(b.x.transport.stall)
	n, err := b.body.Read(p)
	b.x.timer.Stop()
	b.x.transport.count(b.x.op, store.Requests{Received: int64(n)})
	if err != nil {
		err = b.x.explain(err)
	}
	return n, err
}

func (b *responseBody) Close() error {
	err := b.body.Close()
	b.x.cancel(nil)
	return err
}
