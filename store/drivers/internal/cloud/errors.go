package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"

	"github.com/workdir/workdir/store"
)

// unsent is the meaning of an error before anything was sent: no address, no
// connection. It is not of the Backend's words since every cloud has it.
const unsent Meaning = -1

// meanings gives the condition that a refusal is to the caller of a store.
var meanings = map[Meaning]error{
	Other:        store.ErrUnreachable,
	NotFound:     store.ErrNotExist,
	NoBucket:     store.ErrURL,
	Denied:       store.ErrNotAllowed,
	Unidentified: store.ErrNotAllowed,
	Changed:      store.ErrConflict,
	OutOfRange:   store.ErrUnreachable,
	Busy:         store.ErrUnreachable,
	Broken:       store.ErrUnreachable,
	BadOption:    store.ErrUnreachable,
	Full:         store.ErrFull,
	Unsupported:  store.ErrUnreachable,
	unsent:       store.ErrUnreachable,
}

// Again says whether a request that was refused so can be sent once more, if it
// changes nothing to be done twice.
func (m Meaning) Again() bool { return m == Busy || m == Broken || m == unsent }

// callerError marks an error of the caller's own function, which means what it
// means to the caller.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }
func (e *callerError) Unwrap() error { return e.err }

// bucketError is the refusal to look whether there is an object.
type bucketError struct{ err error }

func (e *bucketError) Error() string { return e.err.Error() }
func (e *bucketError) Unwrap() error { return e.err }

// refusal says what an error of the backend means.
func (s *cloudStore) refusal(err error) Refusal {
	if errors.As(err, new(*doubledError)) {
		return Refusal{Meaning: Broken, Todo: "something on the way to the store sends requests twice, or its conditions never hold; try again, and look with \"workdir-mount doctor\""}
	}
	if errors.As(err, new(*nonsenseError)) {
		return Refusal{Meaning: BadOption, Todo: "what answers is no store of this kind; look at the address in the URL's options"}
	}
	r := s.backend.Classify(err)
	if r.Meaning == Other || r.Meaning == Broken {
		if m, ok := broken(err); ok {
			r.Meaning = m
		}
	}
	var bucket *bucketError
	if errors.As(err, &bucket) && r.Meaning == NotFound {
		r.Meaning = NoBucket
	}
	if r.Todo == "" {
		r.Todo = todos[r.Meaning]
	}
	return r
}

// todos are what to do where a driver has nothing more special to say.
var todos = map[Meaning]string{
	BadOption: "look whether the address and its certificate are right",
	NoBucket:  "make the bucket, or correct its name",
	Full:      "make room or raise the quota, and try again",
	Busy:      "the store asks to slow down; try again later",
	unsent:    "look whether the address is right, the network up and the server running",
}

// broken gives the meaning of an error of the connection.
func broken(err error) (m Meaning, ok bool) {
	var op *net.OpError
	var dns *net.DNSError
	var timeout net.Error
	var urlErr *url.Error
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &cert), errors.As(err, &record):
		return BadOption, true
	case errors.As(err, &dns), errors.As(err, &op) && op.Op == "dial", errors.Is(err, syscall.ECONNREFUSED):
		return unsent, true
	case errors.As(err, &op), errors.As(err, &timeout) && timeout.Timeout(),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.As(err, &urlErr):
		return Broken, true
	}
	return Other, false
}

// fail gives err the shape of the errors of package store. ctx is the caller's.
func (s *cloudStore) fail(ctx context.Context, op, key string, err error) error {
	e := &store.Error{Op: op, Object: s.object(key), Cause: err}
	var conflict *store.ConflictError
	var caller *callerError
	var done *store.Error
	switch {
	case errors.As(err, &caller):
	case errors.As(err, &done):
		e.Kind, e.Cause, e.Todo = done.Kind, done.Cause, done.Todo
	case errors.As(err, &conflict):
		conflict.Key = key
	case ctx.Err() != nil:
		e.Cause = store.ContextError(ctx)
	default:
		s.explain(e, err)
	}
	return e
}

// explain says what a refusal is, and what can be done.
func (s *cloudStore) explain(e *store.Error, err error) {
	r := s.refusal(err)
	if r.Meaning == Unidentified {
		forget(s.id)
	}
	e.Kind, e.Todo = meanings[r.Meaning], r.Todo
	if e.Kind == store.ErrNotExist {
		e.Cause = nil
	}
}

// object is what messages call the archive of a key, or a prefix.
func (s *cloudStore) object(key string) string {
	return s.backend.Bucket() + "/" + s.prefix + key
}

// replaced is the error of a read of an archive that is not there any more.
func replaced(rev store.Revision, err error) error {
	return &store.Error{
		Kind: store.ErrConflict, Cause: fmt.Errorf("the archive was replaced or removed while it was read (revision %s is gone): %w", rev, err),
		Todo: "open the workspace again",
	}
}
