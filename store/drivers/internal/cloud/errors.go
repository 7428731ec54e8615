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
	"strings"
	"syscall"

	"github.com/workdir/workdir/store"
)

// meanings say what each one is to the caller of a store, and what to do where a driver has
// nothing more special to say.
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

// Again says whether a request that was refused so can be sent once more, if it does no
// harm when it is done twice.
func (m Meaning) Again() bool { return m == Busy || m == Broken || m == unsent }

// Words are what the answers of a cloud mean, by its own codes.
type Words map[string]Refusal

// Said is a row of Words: codes, separated by spaces, and what they mean.
type Said struct {
	Codes   string
	Meaning Meaning
	Todo    string
}

// NewWords makes Words of rows.
func NewWords(rows ...Said) Words {
	w := Words{}
	for _, row := range rows {
		for _, code := range strings.Fields(row.Codes) {
			w[code] = Refusal{row.Meaning, row.Todo}
		}
	}
	return w
}

// statuses are for answers whose code says nothing: those to HEAD, and those of proxies. All
// others are Broken from 500 on, and BadOption below 400: no cloud answers so.
var statuses = map[int]Meaning{
	http.StatusUnauthorized:                 Unidentified,
	http.StatusForbidden:                    Denied,
	http.StatusNotFound:                     NotFound,
	http.StatusMethodNotAllowed:             Unsupported,
	http.StatusRequestTimeout:               Broken,
	http.StatusGone:                         Broken, // an upload that Google gave up
	http.StatusPreconditionFailed:           Changed,
	http.StatusRequestedRangeNotSatisfiable: OutOfRange,
	http.StatusTooManyRequests:              Busy,
	http.StatusNotImplemented:               Unsupported,
	http.StatusInsufficientStorage:          Full,
}

// Of returns what an answer means.
func (w Words) Of(code string, status int) Refusal {
	r, known := w[code]
	if !known {
		r.Meaning, known = statuses[status]
	}
	switch {
	case known:
	case status >= http.StatusInternalServerError:
		r.Meaning = Broken
	case status < http.StatusBadRequest:
		r.Meaning = BadOption
	}
	return r
}

// Connection returns what an error means that is no answer; Other for one that has nothing to do
// with the connection.
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
	case op != nil, errors.As(err, &timeout) && timeout.Timeout(), errors.As(err, new(*url.Error)):
		return Refusal{Meaning: Broken}
	}
	for _, broken := range []error{io.ErrUnexpectedEOF, io.EOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, broken) {
			return Refusal{Meaning: Broken}
		}
	}
	return Refusal{}
}

// callerError marks an error of the caller's own function, which means what it means to the
// caller.
type callerError struct{ error }

func (e *callerError) Unwrap() error { return e.error }

// GoneError is a condition that does not hold because the object is gone, in a cloud that
// answers "not found" to that.
type GoneError struct{ Err error }

func (e *GoneError) Error() string { return e.Err.Error() }
func (e *GoneError) Unwrap() error { return e.Err }

// bucketError is the refusal to look whether there is an object.
type bucketError struct{ error }

func (e *bucketError) Unwrap() error { return e.error }

// refusal says what an error of the backend means.
func (s *cloudStore) refusal(err error) Refusal {
	switch {
	case errors.As(err, new(*doubledError)):
		return Refusal{Broken, "something on the way to the store sends requests twice, or its conditions never hold; try again, and look with \"workdir-mount doctor\""}
	case errors.As(err, new(*GoneError)):
		return Refusal{Meaning: Changed}
	case errors.As(err, new(*nonsenseError)):
		return Refusal{BadOption, "what answers is no store of this kind; look at the address in the URL's options"}
	}
	r := s.backend.Classify(err)
	if r.Meaning == NotFound && errors.As(err, new(*bucketError)) {
		r.Meaning = NoBucket
	}
	if r.Todo == "" {
		r.Todo = meanings[r.Meaning].todo
	}
	return r
}

// fail returns err in the shape of the errors of package store. ctx is the caller's.
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

// replaced is the error where the archive that is read or copied is another one by now.
func replaced(doing string, rev store.Revision, cause error) error {
	return &store.Error{
		Kind: store.ErrConflict, Cause: fmt.Errorf("the archive was replaced or removed while it was %s (revision %s is gone): %w", doing, rev, cause),
		Todo: "open the workspace again",
	}
}
