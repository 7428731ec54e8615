package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Check is one thing that was tried, and how it went.
type Check struct {
	Name   string      `json:"name"` // a word or two: "conditional create"
	Status CheckStatus `json:"status"`
	Detail string      `json:"detail"`        // what was found, without secrets
	Fix    string      `json:"fix,omitempty"` // what the user can do where it is not ok
}

// CheckStatus is the outcome of a Check.
type CheckStatus string

// Outcomes of a check.
const (
	CheckOK   CheckStatus = "ok"
	CheckWarn CheckStatus = "warn" // works, but for what Detail says
	CheckFail CheckStatus = "fail" // workspaces do not work here
	CheckSkip CheckStatus = "skip" // was not tried; Detail says why
)

// Diagnoser is a Store whose driver can tell more of its bucket than can be tried
// through a Store: where the credentials come from, versioning, rules of lifecycle.
type Diagnoser interface {
	// Diagnose tells of the bucket. key is one that a workspace could have, so that
	// what holds for a prefix only can be told. It writes nothing that stays. What it
	// may not look at is a CheckSkip that names the permission.
	Diagnose(ctx context.Context, key string) []Check
}

// DiagnoseOptions are the options of Diagnose. Nil stands for the zero value.
type DiagnoseOptions struct {
	// Quick leaves out what moves more than some KiB.
	Quick bool
}

// scratchPrefix begins the name of the directory of what Diagnose stores. No listing
// shows what is beneath it as a workspace.
const scratchPrefix = ".workdir-doctor-"

// isScratch tells the key of a scratch archive.
func isScratch(key string) bool { return strings.Contains("/"+key, "/"+scratchPrefix) }

// Bounds of a diagnosis.
const (
	tidyPatience = 30 * time.Second // to remove what it stored, though it was cancelled
	listPatience = 30 * time.Second // for a listing, which can be long
	clockSkew    = time.Minute      // from where on a wrong clock is worth a word; clouds refuse at 15 minutes
)

// Diagnose tries what workspaces ask of the store that url leads to, and reports
// each check as it is done, in the caller's goroutine. url is that of a workspace;
// or of a prefix, where it ends with a slash or names a whole bucket.
//
// It works on a scratch archive beside the workspace, or beneath the prefix, and
// removes it whatever happens; a workspace itself is only looked at. The error is
// ErrURL or ctx's own: what the store does wrong is in the checks.
func Diagnose(ctx context.Context, url string, opts *DiagnoseOptions, report func(Check)) error {
	u, err := ParsePrefix(url)
	if err != nil {
		return err
	}
	s, err := OpenBucket(ctx, u)
	if errors.Is(err, ErrURL) {
		return err
	}
	if err != nil {
		report(newCheck("open", "", err))
		return ContextError(ctx)
	}
	defer s.Close()
	d := &diagnosis{store: s, url: u, report: report}
	if opts != nil {
		d.quick = opts.Quick
	}
	if isPrefix(url, u) {
		d.dir = u.prefix()
	} else {
		d.key = u.Key
		d.dir = u.Key[:strings.LastIndexByte(u.Key, '/')+1]
	}
	d.scratch = d.dir + scratchPrefix + randomName() + "/trial"
	d.run(ctx)
	return ContextError(ctx)
}

// isPrefix says whether a URL, which u is the parts of, means a group of workspaces.
func isPrefix(url string, u URL) bool {
	path, _, _ := strings.Cut(url, "?")
	return u.Key == "" || strings.HasSuffix(path, "/")
}

func randomName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// newCheck is ok with detail, or what err means. A failure's fix is the error's own.
func newCheck(name, detail string, err error) Check {
	if err == nil {
		return Check{Name: name, Status: CheckOK, Detail: detail}
	}
	c := Check{Name: name, Status: CheckFail, Detail: err.Error()}
	var odd *oddity
	if errors.As(err, &odd) {
		c.Status, c.Fix = odd.status, odd.fix
	}
	if e, ok := err.(*Error); ok { // as the drivers return it: nothing around it
		bare := *e
		bare.Todo = ""
		c.Detail, c.Fix = bare.Error(), e.Todo
	}
	c.Detail = strings.ReplaceAll(c.Detail, "\n", "; ")
	return c
}

// oddity is a store that does not do what it should.
type oddity struct {
	status    CheckStatus
	text, fix string
}

func (o *oddity) Error() string { return o.text }

// diagnosis is one run of Diagnose.
type diagnosis struct {
	store   Store
	url     URL
	key     string // of the workspace; "" where the URL is of a prefix
	dir     string // "" or with a slash at the end
	scratch string // key of the scratch archive
	quick   bool
	report  func(Check)

	now     Info         // of the scratch archive; no Revision while there is none
	content *content     // of the scratch archive
	tried   bool         // something may have been stored
	dirs    func() error // removes the directories made for it; nil where a store has none
}

// step is one check of a diagnosis.
type step struct {
	name   string
	writes bool // needs the scratch archive, or replaces it
	bulk   bool // moves megabytes
	try    func(context.Context) (detail string, err error)
}

func (d *diagnosis) steps() []step {
	return []step{
		{name: "list", try: d.list},
		{name: "workspace", try: d.workspace},
		{name: "absent", try: d.absent},
		{name: "create", try: d.create},
		{name: "create again", writes: true, try: d.createAgain},
		{name: "replace", writes: true, try: d.replace},
		{name: "replace stale", writes: true, try: d.replaceStale},
		{name: "race of two", writes: true, try: d.race},
		{name: "clock", writes: true, try: d.clock},
		{name: "parts", writes: true, bulk: true, try: d.parts},
		{name: "range", writes: true, try: d.ranges},
		{name: "replaced in read", writes: true, try: d.replacedInRead},
		{name: "parts stale", writes: true, bulk: true, try: d.partsStale},
		{name: "delete stale", writes: true, try: d.deleteStale},
		{name: "delete", writes: true, try: d.delete},
	}
}

func (d *diagnosis) run(ctx context.Context) {
	if f, ok := d.store.(*fileStore); ok {
		d.dirs = f.scratchDir(d.scratch)
	}
	defer d.tidy(ctx)
	if failed := d.askDriver(ctx); failed != "" {
		d.report(Check{Name: "archives", Status: CheckSkip, Detail: "not tried while this fails: " + failed})
		return
	}
	for _, s := range d.steps() {
		switch {
		case ctx.Err() != nil:
			return
		case s.name == "workspace" && d.key == "":
		case s.bulk && d.quick:
			d.report(Check{Name: s.name, Status: CheckSkip, Detail: "left out of a quick run"})
		case s.writes && d.now.Revision == "":
			d.report(Check{Name: "further writes", Status: CheckSkip, Detail: "there is no scratch archive to try them on"})
			return
		default:
			d.try(ctx, s)
		}
	}
}

// askDriver reports the driver's own checks, and names the one that failed, if any.
func (d *diagnosis) askDriver(ctx context.Context) (failed string) {
	driver, ok := d.store.(Diagnoser)
	if !ok {
		return ""
	}
	for _, c := range driver.Diagnose(ctx, d.scratch) {
		if ctx.Err() != nil {
			return ""
		}
		if d.report(c); c.Status == CheckFail {
			failed = c.Name
		}
	}
	return failed
}

// try does one step. It is not reported where ctx ended in the middle of it.
func (d *diagnosis) try(ctx context.Context, s step) {
	detail, err := s.try(ctx)
	if ctx.Err() == nil {
		d.report(newCheck(s.name, detail, err))
	}
}

// tidy removes what the diagnosis stored, and tells of it.
func (d *diagnosis) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyPatience)
	defer cancel()
	var err error
	if d.tried {
		_, err = deleteCurrent(ctx, d.store, d.scratch)
	}
	if d.dirs != nil && err == nil {
		err = d.dirs()
	}
	if err != nil {
		err = &oddity{CheckFail, err.Error(), fmt.Sprintf("remove %s%s by hand; a commit that empties a workspace needs the permission to delete", d.object(d.scratch), suffix)}
	}
	d.report(newCheck("left behind", "nothing", err))
}

// object names a key for messages.
func (d *diagnosis) object(key string) string {
	return strings.TrimSuffix(d.url.bucket(), "/") + "/" + key
}
