package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// callerError marks an error of the caller's own function, which is passed through unchanged.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }
func (e *callerError) Unwrap() error { return e.err }

// meanings of the file system's errors. Any other error means that the store failed.
var meanings = []struct {
	errnos []unix.Errno
	kind   error
	todo   string
}{
	{[]unix.Errno{unix.ENOENT}, ErrNotExist, ""},
	{[]unix.Errno{unix.EACCES, unix.EPERM}, ErrNotAllowed, "give this user the permission, on the file and on every directory above it"},
	{[]unix.Errno{unix.EROFS}, ErrNotAllowed, "the file system is read-only; use another store, or open the workspace read-only"},
	{[]unix.Errno{unix.ENOTDIR}, ErrNotArchive, "a part of the path is a file and no directory; choose another key"},
	{[]unix.Errno{unix.EISDIR, unix.ELOOP}, ErrNotArchive, "only a regular file can be an archive"},
	{[]unix.Errno{unix.ENAMETOOLONG}, ErrURL, "choose a shorter key"},
	{[]unix.Errno{unix.EFBIG}, ErrNotAllowed, "the archive is larger than this process or the file system allows a file to be; raise the limit (ulimit -f), or use another store"},
	{[]unix.Errno{unix.ENOSPC, unix.EDQUOT}, ErrFull, "the disk (or its quota) is full; make room and try again"},
}

// strangeHome are the errors of a home that we did not create.
var strangeHome = []error{unix.EACCES, unix.EPERM, unix.ENOTDIR, unix.ELOOP, unix.EISDIR}

// fail returns err in the shape of this package's errors; nil for nil.
func (s *fileStore) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: s.object(key), Cause: err}
	e.Kind, e.Todo = meaning(err)
	if e.Kind != nil && errors.Is(err, e.Kind) {
		e.Kind = nil // the cause says it all
	}
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		conflict.Key = key
	}
	if op == "put" && errors.Is(e.Kind, ErrNotExist) {
		e.Kind, e.Todo = ErrUnreachable, "a directory of the path was removed, or leads nowhere"
	}
	return e
}

// meaning returns the condition of err, and what the user can do; nil if err itself says it.
func meaning(err error) (kind error, todo string) {
	var caller *callerError
	var other *notRegularError
	var home *homeError
	switch {
	case errors.As(err, &caller), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil, ""
	case errors.As(err, &other):
		return ErrNotArchive, "move it away, or choose another key"
	case errors.As(err, new(*lockedError)):
		return ErrUnreachable, "end what holds it (fuser -v names it), and try again"
	case errors.As(err, &home) && slices.Contains(strangeHome, home.err):
		return ErrNotAllowed, "give it the owner, group and mode of the directory that it is in, or remove it while nobody commits"
	case errors.Is(err, errUnsteady):
		return ErrUnreachable, "open it again when that tool is done"
	case errors.Is(err, ErrUnknown):
		return ErrUnknown, "check the workspace before trying again"
	case errors.Is(err, ErrNotAllowed), errors.Is(err, ErrURL), errors.Is(err, ErrConflict):
		return nil, ""
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		for _, m := range meanings {
			if slices.Contains(m.errnos, errno) {
				return m.kind, m.todo
			}
		}
	}
	return ErrUnreachable, ""
}

// object returns the name in messages of the archive of a key, or of a prefix.
func (s *fileStore) object(key string) string {
	if s.label != "" {
		return s.label + key
	}
	path := strings.TrimSuffix(s.root, "/") + "/" + key
	if key != "" && !strings.HasSuffix(key, "/") {
		path += suffix
	}
	return path
}
