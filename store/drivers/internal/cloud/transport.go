package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/workdir/workdir/store"
)

// operation is the purpose of a request. All requests of an operation after the first count as
// retries.
type operation struct {
	kind    string   // as in store.Traffic
	traffic *traffic // of the operation's store; nil if not counted
	sent    atomic.Int64
	pulse   *pulse // shared with nested operations; nil if not watched
}

type operationKey struct{}

// Operation returns a context for one operation of a kind, by the names of store.Traffic. The
// store passes one to every method of a Backend; a method that makes several requests that are
// not retries creates a context for each.
func Operation(ctx context.Context, kind string) context.Context {
	outer := operationOf(ctx)
	op := &operation{kind: kind, traffic: outer.traffic, pulse: outer.pulse}
	if op.pulse == nil {
		op.pulse = &pulse{}
		op.pulse.beat()
	}
	return context.WithValue(ctx, operationKey{}, op)
}

// counted returns a context whose operations count for s, each with its own pulse.
func (s *cloudStore) counted(ctx context.Context) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{kind: "other", traffic: &s.traffic})
}

// operationOf returns the operation of a context, or a new one of the kind "other".
func operationOf(ctx context.Context) *operation {
	if op, ok := ctx.Value(operationKey{}).(*operation); ok {
		return op
	}
	return &operation{kind: "other"}
}

// traffic counts requests. The zero value is ready for use.
type traffic struct {
	mu     sync.Mutex
	byKind store.Traffic // guarded by mu
}

func (t *traffic) sum() store.Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.byKind)
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

// Transport carries and counts the requests of stores, and drops stalled connections. Drivers
// put it beneath their SDK's HTTP client.
type Transport struct {
	base    http.RoundTripper
	stall   time.Duration
	traffic traffic // of all stores, and of the SDK's own requests
}

// NewTransport returns a Transport over base, which has the user's proxies and certificates;
// nil is [DefaultTransport].
func NewTransport(base http.RoundTripper) *Transport {
	if base == nil {
		base = DefaultTransport()
	}
	return &Transport{base: base, stall: stallTime}
}

// stallTime is how long a request may go without a byte in either direction.
const stallTime = time.Minute

// DefaultTransport is the standard library's transport, tuned by [Tune].
func DefaultTransport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	return Tune(t.Clone())
}

// Tune configures t for parallel parts: it keeps as many connections as there are parts, and
// does not decompress. It returns t.
func Tune(t *http.Transport) *http.Transport {
	t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, 4*(UploadParts+store.AheadReads))
	t.MaxIdleConns = 0
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 64<<10 // bytes
	t.DisableCompression = true
	return t
}

// CloseIdleConnections closes unused connections.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Traffic returns the traffic through t so far.
func (t *Transport) Traffic() store.Traffic { return t.traffic.sum() }

// count adds to the traffic of an operation.
func (t *Transport) count(op *operation, more store.Requests) {
	t.traffic.add(op.kind, more)
	if more.Sent+more.Received > 0 {
		op.pulse.beat()
	}
	if op.traffic != nil {
		op.traffic.add(op.kind, more)
	}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	op := operationOf(r.Context())
	t.count(op, store.Requests{Count: 1, Retries: min(1, op.sent.Add(1)-1)})
	ctx, cancel := context.WithCancelCause(r.Context())
	x := &exchange{t: t, op: op, ctx: ctx, cancel: cancel}
	x.timer = time.AfterFunc(t.stall, func() { cancel(stalledError(t.stall)) })
	getBody := r.GetBody
	r = r.WithContext(ctx)
	r.Body = x.request(r.Body)
	if getBody != nil {
		r.GetBody = func() (io.ReadCloser, error) {
			again, err := getBody()
			return x.request(again), err
		}
	}
	resp, err := t.base.RoundTrip(r)
	x.timer.Stop()
	if err != nil {
		defer cancel(nil)
		err = x.explain(err)
		op.pulse.fail(err)
		return nil, err
	}
	resp.Body = &body{resp.Body, x, false}
	return resp, nil
}

// stalledError is how long a connection carried no byte. It is a net.Error, so that SDKs
// retry.
type stalledError time.Duration

func (e stalledError) Error() string { return fmt.Sprintf("stalled: no byte for %v", time.Duration(e)) }
func (stalledError) Timeout() bool   { return true }
func (stalledError) Temporary() bool { return true }

// exchange is one request and its response.
type exchange struct {
	t      *Transport
	op     *operation
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // runs while a byte is expected
}

// request returns the body of the request, wrapped to be watched.
func (x *exchange) request(b io.ReadCloser) io.ReadCloser {
	if b == nil || b == http.NoBody {
		return b
	}
	return &body{b, x, true}
}

// explain returns err, or a stalledError if the request was stalled.
func (x *exchange) explain(err error) error {
	if stalled, ok := errors.AsType[stalledError](context.Cause(x.ctx)); ok && err != io.EOF {
		return stalled
	}
	return err
}

// body is a sent or received body. The time between two Reads of a received one belongs to the
// reader.
type body struct {
	io.ReadCloser
	x    *exchange
	sent bool
}

func (b *body) Read(p []byte) (int, error) {
	b.x.timer.Reset(b.x.t.stall)
	n, err := b.ReadCloser.Read(p)
	if b.sent {
		b.x.timer.Reset(b.x.t.stall)
		b.x.t.count(b.x.op, store.Requests{Sent: int64(n)})
		return n, err
	}
	b.x.timer.Stop()
	b.x.t.count(b.x.op, store.Requests{Received: int64(n)})
	if err != nil {
		err = b.x.explain(err)
	}
	return n, err
}

func (b *body) Close() error {
	if !b.sent {
		defer b.x.cancel(nil)
	}
	return b.ReadCloser.Close()
}
