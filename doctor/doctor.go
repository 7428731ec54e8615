// Package doctor tests what workspaces require of a bucket or a directory, and says for each
// failure what the user can do.
//
// It uses a store through the methods that every store has, and tries them on a scratch
// archive: what works for that one works for a workspace. For questions that only a cloud's
// own API can answer (versioning, lifecycle rules, the source of credentials) the store's
// driver provides a [Bucket]. The packages doctor/s3, doctor/gs and doctor/azure implement it,
// one for each cloud, so that a program links only those of its drivers.
package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/workdir/workdir/store"
)

// Check is one test and its outcome.
type Check struct {
	Name   string `json:"name"` // a word or two: "conditional create"
	Status Status `json:"status"`
	Detail string `json:"detail"`        // what was found, without secrets
	Fix    string `json:"fix,omitempty"` // what the user can do if it is not ok
}

// Error makes a check an error, for [CheckOf].
func (c *Check) Error() string { return c.Detail }

// Status is the outcome of a Check.
type Status string

// Outcomes of a check.
const (
	OK   Status = "ok"
	Warn Status = "warn" // works, with the reservation in Detail
	Fail Status = "fail" // workspaces do not work here
	Skip Status = "skip" // not tried; Detail says why
)

// CheckOf returns a passed check with detail if err is nil; else err itself if it is a *Check,
// or a failure with the error's own fix.
func CheckOf(name, detail string, err error) Check {
	c := Check{Name: name, Status: OK, Detail: detail}
	if err == nil {
		return c
	}
	c.Status, c.Detail = Fail, err.Error()
	var found *Check
	if errors.As(err, &found) {
		c.Status, c.Fix = found.Status, found.Fix
	}
	if e, ok := err.(*store.Error); ok { //nolint:errorlint // as the drivers return it: wrapping errors would be lost
		bare := *e
		bare.Todo = ""
		c.Detail, c.Fix = bare.Error(), e.Todo
	}
	c.Detail = strings.ReplaceAll(c.Detail, "\n", "; ")
	return c
}

// wrong returns the error that fails a check if is is true; else nil.
func wrong(is bool, fix, format string, args ...any) error {
	if !is {
		return nil
	}
	return &Check{Status: Fail, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// doubt is as wrong, for a warning.
func doubt(is bool, fix, format string, args ...any) error {
	if !is {
		return nil
	}
	return &Check{Status: Warn, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// Options of Diagnose. Nil stands for the zero value.
type Options struct {
	// Quick skips steps that move more than some KiB.
	Quick bool
}

// Target is what is diagnosed: the store of a workspace, or of those beneath a prefix.
type Target struct {
	URL    store.URL
	Prefix bool // URL is that of a prefix
}

// ParseTarget parses a URL. It is a prefix if it ends with a slash or names a whole bucket.
// The error is store.ErrURL.
func ParseTarget(url string) (Target, error) {
	u, err := store.ParsePrefix(url)
	path, _, _ := strings.Cut(url, "?")
	return Target{u, u.Key == "" || strings.HasSuffix(path, "/")}, err
}

// Diagnose tests what workspaces require of a store, and reports each check when it is done,
// on the caller's goroutine.
//
// It works on a scratch archive beside the workspace, or beneath the prefix, and always
// removes it; the workspace itself is only read. The error is store.ErrURL or ctx's own:
// failures of the store are in the checks.
func Diagnose(ctx context.Context, t Target, opts *Options, report func(Check)) error {
	u := t.URL
	s, err := store.OpenBucket(ctx, u)
	if errors.Is(err, store.ErrURL) {
		return err
	}
	if err != nil {
		report(CheckOf("open", "", err))
		return store.ContextError(ctx)
	}
	defer s.Close()
	d := &diagnosis{store: s, url: u, quick: opts != nil && opts.Quick}
	switch {
	case u.Key == "":
	case t.Prefix:
		d.dir = u.Key + "/"
	default:
		d.key, d.dir = u.Key, u.Key[:strings.LastIndexByte(u.Key, '/')+1]
	}
	d.scratch = d.dir + store.ScratchPrefix + strings.ToLower(rand.Text()[:16]) + "/trial"
	d.report = func(c Check) {
		if ctx.Err() == nil { // else the failure is due to that
			report(c)
		}
		if c.Status == Fail {
			d.failed = c.Name
		}
	}
	d.run(ctx)
	report(d.tidy(ctx))
	return store.ContextError(ctx)
}

// diagnosis is one run of Diagnose.
type diagnosis struct {
	store   store.Store
	url     store.URL
	key     string // of the workspace; "" if the URL is a prefix
	dir     string // "" or with a slash at the end
	scratch string // key of the scratch archive
	quick   bool
	report  func(Check)

	failed  string       // the last check that failed
	detail  string       // of the current step
	now     store.Info   // of the scratch archive; without a Revision while it does not exist
	content []byte       // of the scratch archive
	tried   bool         // something may have been stored
	cleanup func() error // removes the directories of the scratch archive; nil if the store has none
}

// run checks what is specific to the kind of store, and tries the steps if that passes.
func (d *diagnosis) run(ctx context.Context) {
	switch s := d.store.(type) {
	case Cloud:
		d.examine(ctx, s.Doctor())
	case directory:
		d.lookAt(ctx, s)
	}
	if d.failed != "" {
		d.report(Check{Name: "archives", Status: Skip, Detail: "not tried while this fails: " + d.failed})
		return
	}
	for _, s := range d.steps() {
		switch {
		case ctx.Err() != nil, s.name == "workspace" && d.key == "":
		case s.moves == megabytes && d.quick:
			d.report(Check{Name: s.name, Status: Skip, Detail: "left out of a quick run"})
		case s.moves != nothing && d.now.Revision == "":
			d.report(Check{Name: "further writes", Status: Skip, Detail: "there is no scratch archive to try them on"})
			return
		default:
			d.detail = s.detail
			err := s.try(ctx)
			d.report(CheckOf(s.name, d.detail, err))
		}
	}
}

// tidyPatience bounds the removal of the scratch archive, which cancellation does not stop.
const tidyPatience = 30 * time.Second

// tidy removes everything that the diagnosis stored.
func (d *diagnosis) tidy(ctx context.Context) Check {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyPatience)
	defer cancel()
	var err error
	if d.tried {
		_, err = d.at(d.scratch).Delete(ctx)
	}
	if d.cleanup != nil && err == nil {
		err = d.cleanup()
	}
	return CheckOf("left behind", "nothing", wrong(err != nil, "remove "+d.at(d.scratch).Identity()+".tar.gz by hand; a commit that empties a workspace needs the permission to delete", "%v", err))
}

// at returns the URL of a key.
func (d *diagnosis) at(key string) store.URL {
	u := d.url
	u.Key = key
	return u
}
