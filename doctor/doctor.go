// Package doctor tries what workspaces ask of a bucket or a directory, and says for each
// "no" what the user can do.
//
// It knows a store through the methods that every store has, and tries them on a scratch
// archive: what holds for that one holds for a workspace. What only a cloud's own API can
// answer (versioning, rules of lifecycle, where credentials come from) the store's driver
// hands over as a [Bucket]. A package for each cloud makes it, doctor/s3, doctor/gs or
// doctor/azure, so that a program links those of its drivers alone.
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

// Check is one thing that was tried, and how it went.
type Check struct {
	Name   string `json:"name"` // a word or two: "conditional create"
	Status Status `json:"status"`
	Detail string `json:"detail"`        // what was found, without secrets
	Fix    string `json:"fix,omitempty"` // what the user can do where it is not ok
}

// Error makes a check an error: of what was tried, for [CheckOf].
func (c *Check) Error() string { return c.Detail }

// Status is the outcome of a Check.
type Status string

// Outcomes of a check.
const (
	OK   Status = "ok"
	Warn Status = "warn" // works, but for what Detail says
	Fail Status = "fail" // workspaces do not work here
	Skip Status = "skip" // was not tried; Detail says why
)

// CheckOf returns a check that is ok with detail, or what err means: the *Check that it is,
// or a failure whose fix is the error's own.
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
	if e, ok := err.(*store.Error); ok { //nolint:errorlint // as the drivers return it: what is around it would be lost
		bare := *e
		bare.Todo = ""
		c.Detail, c.Fix = bare.Error(), e.Todo
	}
	c.Detail = strings.ReplaceAll(c.Detail, "\n", "; ")
	return c
}

// wrong is the error that fails a check, where it is so; else nil.
func wrong(is bool, fix, format string, args ...any) error {
	if !is {
		return nil
	}
	return &Check{Status: Fail, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// doubt is as wrong, for what works all the same.
func doubt(is bool, fix, format string, args ...any) error {
	if !is {
		return nil
	}
	return &Check{Status: Warn, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// Options of Diagnose. Nil stands for the zero value.
type Options struct {
	// Quick leaves out what moves more than some KiB.
	Quick bool
}

// Target is what is diagnosed: the store of a workspace, or of those beneath a prefix.
type Target struct {
	URL    store.URL
	Prefix bool // URL is that of a prefix
}

// ParseTarget parses a URL. It is that of a prefix where it ends with a slash or names a
// whole bucket. The error is store.ErrURL.
func ParseTarget(url string) (Target, error) {
	u, err := store.ParsePrefix(url)
	path, _, _ := strings.Cut(url, "?")
	return Target{u, u.Key == "" || strings.HasSuffix(path, "/")}, err
}

// Diagnose tries what workspaces ask of a store, and reports each check as it is done, in
// the caller's goroutine.
//
// It works on a scratch archive beside the workspace, or beneath the prefix, and removes
// it whatever happens; a workspace itself is only looked at. The error is store.ErrURL or
// ctx's own: what the store does wrong is in the checks.
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
		if ctx.Err() == nil { // else what was found is due to that
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
	key     string // of the workspace; "" where the URL is of a prefix
	dir     string // "" or with a slash at the end
	scratch string // key of the scratch archive
	quick   bool
	report  func(Check)

	failed  string       // the last check that failed
	detail  string       // of the step that is tried
	now     store.Info   // of the scratch archive; without a Revision while it is not there
	content []byte       // of the scratch archive
	tried   bool         // something may have been stored
	cleanup func() error // removes the directories of the scratch archive; nil where a store has none
}

// run looks at what is particular to the kind of store, and tries the steps if all is well.
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

// tidyPatience bounds the removal of the scratch archive, which a cancel does not end.
const tidyPatience = 30 * time.Second

// tidy removes what the diagnosis stored.
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

// at is the URL of a key.
func (d *diagnosis) at(key string) store.URL {
	u := d.url
	u.Key = key
	return u
}
