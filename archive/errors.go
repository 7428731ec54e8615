package archive

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/workdir/workdir/fs"
)

// Conditions that callers can distinguish with errors.Is.
var (
	ErrFormat   = errors.New("archive refused")
	ErrLimit    = errors.New("archive limit exceeded")
	ErrPortable = errors.New("archive not portable")
)

// FormatError describes what is wrong with an archive, or with a tree that no archive can
// hold. It is an ErrFormat.
type FormatError struct {
	Entry  string // name of the entry as in the archive; "" for the archive as a whole
	Reason string
	Err    error // the cause below, or nil
}

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString("archive")
	if e.Entry != "" {
		b.WriteString(" entry " + quote(e.Entry))
	}
	b.WriteString(": " + e.Reason)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Is makes every FormatError an ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// LimitError says which of the [Limits] was exceeded. It is an ErrLimit.
type LimitError struct {
	Limit      string // the field's name in Limits
	Value, Max int64  // in the field's unit; Value is the first one above Max
	Entry      string // "" where the archive as a whole is meant
	Writing    bool   // the archive is being written: its readers would refuse it
}

func (e *LimitError) Error() string {
	where := "archive"
	if e.Entry != "" {
		where += " entry " + quote(e.Entry)
	}
	todo := "raise the limit if the archive can be trusted"
	if e.Writing {
		todo = "readers would refuse the archive; remove or shorten what is too large, or divide it among workspaces"
	}
	return fmt.Sprintf("%s: %s is %d, over the limit of %d: %s", where, e.Limit, e.Value, e.Max, todo)
}

// PathTooLong returns err, but the *LimitError of a Writer instead of a *fs.TooLongError:
// the path was refused before the tree had it.
func PathTooLong(err error) error {
	if long, ok := errors.AsType[*fs.TooLongError](err); ok {
		return &LimitError{Limit: "PathLen", Value: int64(len(long.Path)), Max: DefaultLimits().PathLen, Entry: long.Path, Writing: true}
	}
	return err
}

// whileWriting marks err, if it is a LimitError, as one of an archive that is being written.
func whileWriting(err error) error {
	var limit *LimitError
	if errors.As(err, &limit) {
		limit.Writing = true
	}
	return err
}

// Is makes every LimitError an ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// PortableError lists the entries for which Python's temporal-workdir could never read the
// archive. It is an ErrPortable.
type PortableError struct {
	Paths []string // in archive order
}

// shownPaths is how many paths a message names.
const shownPaths = 10

func (e *PortableError) Error() string {
	var b strings.Builder
	b.WriteString("archive: Python's temporal-workdir cannot read absolute or escaping symbolic links, FIFOs or device nodes: remove ")
	for i, p := range e.Paths[:min(len(e.Paths), shownPaths)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(p))
	}
	if more := len(e.Paths) - shownPaths; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// Is makes every PortableError an ErrPortable.
func (e *PortableError) Is(target error) bool { return target == ErrPortable }

// Warning reports something in an archive or a tree that the result lacks. Each kind is
// reported once, with the first path concerned.
type Warning struct {
	Path string // "" where the archive as a whole is meant
	Text string
}

func (w Warning) String() string {
	if w.Path == "" {
		return w.Text
	}
	return quote(w.Path) + ": " + w.Text
}

// shownName is how many bytes of a name a message shows.
const shownName = 200

// quote makes a name fit for a message: quoted, and truncated if it is very long.
func quote(name string) string {
	if len(name) > shownName {
		return strconv.Quote(name[:shownName]) + "..."
	}
	return strconv.Quote(name)
}

func formatErr(entry, reason string, args ...any) error {
	return &FormatError{Entry: entry, Reason: fmt.Sprintf(reason, args...)}
}

// warner passes on the first warning of each kind. Its zero value drops all.
type warner struct {
	fn   func(Warning)
	seen map[string]bool
}

// wants reports whether there is a receiver that has not been warned of text yet.
func (w *warner) wants(text string) bool { return w.fn != nil && !w.seen[text] }

// warn warns of text at path, once for each text.
func (w *warner) warn(path, text string) {
	if !w.wants(text) {
		return
	}
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	w.seen[text] = true
	w.fn(Warning{Path: path, Text: text})
}
