package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/workdir/workdir/store"
)

// Cloud is a Store whose driver can examine its bucket beyond the methods of Store.
type Cloud interface{ Doctor() *Bucket }

// Bucket is what can be examined of one bucket besides its archives. Nothing in it writes.
// Credentials, Settings and Names are nil if the cloud cannot be asked.
type Bucket struct {
	Place  string // region, address
	Prefix string // of every key in the names of objects

	// Credentials returns where the credentials come from, never the credentials.
	Credentials func(context.Context) (detail string, err error)
	// Settings returns the checks of settings that matter to archives: versioning, lifecycle
	// rules. name is that of the scratch archive's object, for rules that apply to a prefix.
	// For a setting that it may not read it returns the check of unseen.
	Settings func(ctx context.Context, name string, unseen Unseen) []Check
	// Names lists, by one request, the names of at most limit objects that begin with prefix
	// and have no further slash, and the prefixes of others up to the next slash.
	Names func(ctx context.Context, prefix string, limit int) ([]string, error)
	// Meaning translates an error of the cloud's SDK: its kind (store.ErrNotAllowed,
	// errors.ErrUnsupported or other), its text for messages, and what the user can do.
	Meaning func(error) (kind error, text, todo string)
}

// Unseen returns the check of a setting that could not be read, which is not a failure, since
// no archive needs it. permission is needed to read it, err is the SDK's.
type Unseen func(check, permission string, err error) Check

// Good returns a passed check.
func Good(name, detail string) Check { return Check{name, OK, detail, ""} }

// Doubtful returns a warning: it works, with the reservation in detail.
func Doubtful(name, detail, fix string) Check { return Check{name, Warn, detail, fix} }

// Retention returns the check for settings that prevent archives from being replaced; why is
// "" without any.
func Retention(why, fix string) Check {
	if why == "" {
		return Good("retention", "archives may be replaced at any time")
	}
	return Check{"retention", Fail, why, fix}
}

// Versioning returns the check of a bucket that keeps replaced objects; kept is its cloud's
// name for them. ended says whether a rule removes them eventually, nil that this is unknown;
// rule names the one to add.
func Versioning(kept string, ended *bool, rule string) Check {
	kept = "on: archives that are replaced or removed stay as " + kept
	switch {
	case ended == nil:
		return Good("versioning", kept)
	case *ended:
		return Good("versioning", kept+", until a rule removes them")
	}
	return Doubtful("versioning", kept+" for ever, and are paid for", "add a rule of lifecycle with "+rule+", see docs/stores.md")
}

// Expiry returns the check for a rule that removes archives; which is "" without one.
func Expiry(which, fix string) Check {
	if which == "" {
		return Good("expiry", "no rule removes archives")
	}
	return Doubtful("expiry", which+" removes archives that were not stored anew for some time", fix+", unless that is wanted: such a workspace is empty then")
}

// ownNames begins the names of this program's temporary objects beside archives.
const ownNames = ".workdir-"

// Beside returns the directory of the scratch archive of that name.
func Beside(name string) string {
	dir, _, _ := strings.Cut(name, ownNames)
	return dir
}

// examine reports on a bucket. It stops at a failed check, since the others would fail as
// well.
func (d *diagnosis) examine(ctx context.Context, b *Bucket) {
	name := b.Prefix + d.scratch + ".tar.gz"
	if b.Credentials != nil {
		detail, err := b.Credentials(ctx)
		c := CheckOf("credentials", detail, err)
		if err != nil && c.Fix == "" {
			_, c.Detail, c.Fix = b.Meaning(err)
		}
		d.report(c)
	}
	if d.failed != "" {
		return
	}
	c := CheckOf("bucket", b.Place, d.absent(ctx))
	if c.Status == Fail {
		c.Detail = b.Place + ": " + c.Detail
	}
	if d.report(c); d.failed != "" {
		return
	}
	if b.Settings != nil {
		for _, c := range b.Settings(ctx, name, b.unseen) {
			d.report(c)
		}
	}
	if b.Names != nil {
		d.report(b.leftovers(ctx, Beside(name)+ownNames))
	}
}

func (b *Bucket) unseen(check, permission string, err error) Check {
	switch kind, text, _ := b.Meaning(err); {
	case errors.Is(kind, store.ErrNotAllowed):
		return Check{check, Skip, "could not look: these credentials may not", "grant the permission " + permission}
	case errors.Is(kind, errors.ErrUnsupported):
		return Check{check, Skip, "could not look: this server cannot tell", ""}
	default:
		return Check{check, Skip, "could not look: " + text, ""}
	}
}

// leftovers looks for scratch objects of killed programs.
func (b *Bucket) leftovers(ctx context.Context, start string) Check {
	const check, most = "leftovers", 100
	names, err := b.Names(ctx, start, most)
	switch {
	case err != nil:
		return b.unseen(check, "to list objects", err)
	case len(names) == 0:
		return Good(check, "no scratch objects of programs that were killed")
	}
	return Doubtful(check, fmt.Sprintf("%d scratch objects of programs that were killed, or are at work just now, such as %s", len(names), names[0]),
		"remove what begins with "+start+" and is older than a day")
}
