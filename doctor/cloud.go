package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/workdir/workdir/store"
)

// Cloud is a Store whose driver can ask more of its bucket than a Store can.
type Cloud interface{ Doctor() *Bucket }

// Bucket is what can be asked about one bucket beside its archives. Nothing of it writes.
// Credentials, Settings and Names are nil for what cannot be asked.
type Bucket struct {
	Place  string // region, address
	Prefix string // comes before every key in the names of objects

	// Credentials says where they come from, and never what they are.
	Credentials func(context.Context) (detail string, err error)
	// Settings returns the checks of what matters to archives: versioning, rules of
	// lifecycle. name is that of the scratch archive's object, for rules that hold for a
	// prefix. What it may not look at is a check that unseen returns.
	Settings func(ctx context.Context, name string, unseen Unseen) []Check
	// Names lists, by one request, the names of at most limit objects that begin with
	// prefix and have no further slash, and those beginnings of others that end with the
	// next slash.
	Names func(ctx context.Context, prefix string, limit int) ([]string, error)
	// Meaning returns what an error of the cloud's SDK stands for (store.ErrNotAllowed and
	// errors.ErrUnsupported count), its text for messages, and what the user can do.
	Meaning func(error) (kind error, text, todo string)
}

// Unseen returns the check of something that could not be looked at, which is no failure:
// no archive needs it. permission is what looking takes, err is of the SDK.
type Unseen func(check, permission string, err error) Check

// Good is a check that is ok.
func Good(name, detail string) Check { return Check{name, OK, detail, ""} }

// Doubtful is a check of what works, but for what detail says.
func Doubtful(name, detail, fix string) Check { return Check{name, Warn, detail, fix} }

// Retention is the check of what keeps archives from being replaced; why is "" where
// nothing does.
func Retention(why, fix string) Check {
	if why == "" {
		return Good("retention", "archives may be replaced at any time")
	}
	return Check{"retention", Fail, why, fix}
}

// Versioning is the check of a bucket that keeps what is replaced, under the name that its
// cloud has for it. ended says whether a rule removes that in time, nil that nobody knows;
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

// Expiry is the check for a rule that removes archives; which is "" where there is none.
func Expiry(which, fix string) Check {
	if which == "" {
		return Good("expiry", "no rule removes archives")
	}
	return Doubtful("expiry", which+" removes archives that were not stored anew for some time", fix+", unless that is wanted: such a workspace is empty then")
}

// ownNames begins the names of what this program stores beside archives for a moment.
const ownNames = ".workdir-"

// Beside is the directory that the scratch archive of that name is made in.
func Beside(name string) string {
	dir, _, _ := strings.Cut(name, ownNames)
	return dir
}

// examine reports what can be asked about a bucket. It ends with a check that fails: the
// others would fail as well.
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
		return Check{check, Skip, "could not look: these credentials may not", "the permission " + permission + " lets them"}
	case errors.Is(kind, errors.ErrUnsupported):
		return Check{check, Skip, "could not look: this server cannot tell", ""}
	default:
		return Check{check, Skip, "could not look: " + text, ""}
	}
}

// leftovers looks for scratch objects of programs that were killed.
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
