package cloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/workdir/workdir/store"
)

// Meaning classifies a refusal.
type Meaning int

// Meanings of a refusal.
const (
	Other        Meaning = iota // definite, but none of the below
	NotFound                    // no such object; or, on some clouds, no such bucket, or no permission to know
	NoBucket                    // the bucket does not exist, or is elsewhere
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

// meanings are the condition for the caller of a store, and what to do unless the driver has
// more specific advice.
var meanings = map[Meaning]struct {
	kind error
	todo string
}{
	Other:        {store.ErrUnreachable, ""},
	NotFound:     {store.ErrNotExist, ""},
	NoBucket:     {store.ErrURL, "make the bucket, or correct its name"},
	Denied:       {store.ErrNotAllowed, ""},
	Unidentified: {store.ErrNotAllowed, ""},
	Changed:      {store.ErrConflict, ""},
	OutOfRange:   {store.ErrUnreachable, ""},
	Busy:         {store.ErrUnreachable, "the store asks to slow down; try again later"},
	Broken:       {store.ErrUnreachable, ""},
	BadOption:    {store.ErrUnreachable, "look whether the address and its certificate are right"},
	Full:         {store.ErrFull, "make room or raise the quota, and try again"},
	Unsupported:  {store.ErrUnreachable, ""},
	unsent:       {store.ErrUnreachable, "look whether the address is right, the network up and the server running"},
}

// Retryable reports whether a request that was refused in this way may be retried, if it is
// safe to do twice.
func (m Meaning) Retryable() bool { return m == Busy || m == Broken || m == unsent }

// Refusal is what an error means to the user.
type Refusal struct {
	Meaning Meaning
	Todo    string // how to fix it, naming permission, option or variable; "" without specific advice
}

// Refused is an error whose meaning is known where it is created.
type Refused struct {
	Refusal
	Err error
}

func (e *Refused) Error() string { return e.Err.Error() }
func (e *Refused) Unwrap() error { return e.Err }

// Means returns err as a Refused.
func Means(m Meaning, todo string, err error) error { return &Refused{Refusal{m, todo}, err} }

// Words are the meanings of a cloud's answers, by code and, for an answer without a meaningful
// code, by status.
type Words map[string]Refusal

// Said is a row of Words.
type Said struct {
	Codes   string // and statuses, separated by spaces
	Meaning Meaning
	Todo    string
}

// NewWords makes Words of rows.
func NewWords(rows ...Said) Words {
	w := Words{}
	for _, row := range append(rows, statuses...) {
		for _, code := range strings.Fields(row.Codes) {
			if _, there := w[code]; !there {
				w[code] = Refusal{row.Meaning, row.Todo}
			}
		}
	}
	return w
}

// statuses are for answers to HEAD, which have no code, and for those of proxies. No cloud
// redirects.
var statuses = []Said{
	{Codes: "301 302 303 307 308", Meaning: BadOption},
	{Codes: "401", Meaning: Unidentified},
	{Codes: "403", Meaning: Denied},
	{Codes: "404", Meaning: NotFound},
	{Codes: "405 501", Meaning: Unsupported},
	{Codes: "408", Meaning: Broken},
	{Codes: "412", Meaning: Changed},
	{Codes: "416", Meaning: OutOfRange},
	{Codes: "429", Meaning: Busy},
	{Codes: "507", Meaning: Full},
}

// Of returns the meaning of an answer. Without an answer status is 0 and err is the error.
func (w Words) Of(code string, status int, err error) Refusal {
	if r, known := w[code]; known {
		return r
	}
	r, known := w[strconv.Itoa(status)]
	switch {
	case known:
	case status == 0:
		return Connection(err)
	case status >= http.StatusInternalServerError:
		r.Meaning = Broken
	}
	return r
}

// Connection returns the meaning of an error other than an answer; Other if it is unrelated to
// the connection.
func Connection(err error) Refusal {
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(tls.AlertError)):
		return Refusal{BadOption, "the server's certificate is not trusted here; add its authority to SSL_CERT_FILE, or look at the address in the URL's options"}
	case errors.As(err, new(tls.RecordHeaderError)), errors.Is(err, http.ErrSchemeMismatch):
		return Refusal{BadOption, "the server does not encrypt; name it by http:// in the URL's options (for Azure by protocol=http)"}
	case errors.As(err, new(*net.DNSError)), errors.As(err, &op) && op.Op == "dial", errors.Is(err, syscall.ECONNREFUSED):
		return Refusal{Meaning: unsent}
	case op != nil, errors.As(err, &timeout) && timeout.Timeout(), errors.As(err, new(*url.Error)),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Refusal{Meaning: Broken}
	}
	return Refusal{}
}

// callerError marks an error of the caller's own function, which is passed through unchanged.
type callerError struct{ error }

func (e *callerError) Unwrap() error { return e.error }

// Classify returns the meaning of an error of b's methods.
func Classify(b Backend, err error) Refusal {
	if known, ok := errors.AsType[*Refused](err); ok {
		return known.Refusal
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return Refusal{Meaning: Unsupported}
	}
	return b.Classify(err)
}

// refusal is Classify, with default advice.
func (s *cloudStore) refusal(err error) Refusal {
	r := Classify(s.backend, err)
	if r.Todo == "" {
		r.Todo = meanings[r.Meaning].todo
	}
	return r
}

// fail returns err in the form of the errors of package store. ctx is the caller's.
func (s *cloudStore) fail(ctx context.Context, op, key string, err error) error {
	e := &store.Error{Op: op, Object: s.backend.Bucket() + "/" + s.prefix + key, Cause: err}
	var conflict *store.ConflictError
	var done *store.Error
	switch {
	case errors.As(err, new(*callerError)):
	case errors.As(err, &done):
		e.Kind, e.Cause, e.Todo = done.Kind, done.Cause, done.Todo
	case errors.As(err, &conflict):
		conflict.Key = key
	case ctx.Err() != nil:
		e.Cause = store.ContextError(ctx)
	default:
		r := s.refusal(err)
		if r.Meaning == Unidentified {
			forget(s.id)
		}
		if e.Kind, e.Todo = meanings[r.Meaning].kind, r.Todo; errors.Is(e.Kind, store.ErrNotExist) {
			e.Cause = nil
		}
	}
	return e
}

// replaced is the error if the archive being read or copied was replaced.
func replaced(doing string, rev store.Revision, cause error) error {
	return &store.Error{
		Kind: store.ErrConflict, Cause: fmt.Errorf("the archive was replaced or removed while it was %s (revision %s is gone): %w", doing, rev, cause),
		Todo: "open the workspace again",
	}
}
