package gs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/storage"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var (
	_ cloud.Diagnoser = (*backend)(nil)
	_ cloud.Namer     = (*backend)(nil)
)

// Place implements cloud.Diagnoser.
func (b *backend) Place() string {
	if b.endpoint == "" {
		return "at storage.googleapis.com"
	}
	return "at " + b.endpoint
}

// Credentials implements cloud.Diagnoser.
func (b *backend) Credentials(ctx context.Context) store.Check {
	c := store.Check{Name: "credentials", Status: store.CheckOK}
	own, isOwn := b.identity.(config)
	switch {
	case b.anonymous:
		c.Detail = "none are used (anonymous): the bucket must be open to all"
	case !isOwn:
		c.Detail = "those of the client that the program made"
	case own.endpoint == "" && os.Getenv(emulator) != "":
		c.Detail = "none are sent to the emulator that " + emulator + " names"
	default:
		c.Detail = "those of " + credentialSource()
	}
	if _, err := b.Open(ctx); err != nil {
		c.Status, c.Detail, c.Fix = store.CheckFail, cloud.OneLine(err.Error()), b.Classify(err).Todo
	}
	return c
}

// credentialSource is where Google's libraries look first of what is there.
func credentialSource() string {
	const variable = "GOOGLE_APPLICATION_CREDENTIALS"
	if file := os.Getenv(variable); file != "" {
		return "the file " + file + ", which " + variable + " names"
	}
	dir := os.Getenv("CLOUDSDK_CONFIG")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".config", "gcloud")
	}
	file := filepath.Join(dir, "application_default_credentials.json")
	if _, err := os.Stat(file); err == nil {
		return "gcloud's file " + file
	}
	return "the machine's service account, from the metadata server"
}

// Settings implements cloud.Diagnoser.
func (b *backend) Settings(ctx context.Context, name string) []store.Check {
	h, err := b.handle(ctx)
	var attrs *storage.BucketAttrs
	if err == nil {
		attrs, err = h.Attrs(ctx)
	}
	if err != nil {
		return []store.Check{cloud.Unseen(b, "settings", "storage.buckets.get (role roles/storage.bucketViewer)", tidy(err))}
	}
	rules := deletions(attrs, name)
	return []store.Check{
		{Name: "location", Status: store.CheckOK, Detail: strings.TrimSpace(fmt.Sprintf("%s %s, class %s", attrs.Location, attrs.LocationType, attrs.StorageClass))},
		checkRetention(attrs), checkVersioning(attrs, rules), checkSoftDelete(attrs), checkExpiry(rules),
	}
}

// deletions are the rules of lifecycle that remove the object of a name, or older
// generations of it.
func deletions(attrs *storage.BucketAttrs, name string) []storage.LifecycleRule {
	return slices.DeleteFunc(slices.Clone(attrs.Lifecycle.Rules), func(r storage.LifecycleRule) bool {
		c := &r.Condition
		return r.Action.Type != storage.DeleteAction ||
			len(c.MatchesPrefix) > 0 && !slices.ContainsFunc(c.MatchesPrefix, func(p string) bool { return strings.HasPrefix(name, p) }) ||
			len(c.MatchesSuffix) > 0 && !slices.ContainsFunc(c.MatchesSuffix, func(s string) bool { return strings.HasSuffix(name, s) })
	})
}

// isOfOld says whether a rule is for generations that were replaced.
func isOfOld(r storage.LifecycleRule) bool {
	c := &r.Condition
	return c.Liveness == storage.Archived || c.NumNewerVersions > 0 || c.DaysSinceNoncurrentTime > 0 || !c.NoncurrentTimeBefore.IsZero()
}

// checkRetention looks for what keeps an archive from being replaced.
func checkRetention(attrs *storage.BucketAttrs) store.Check {
	const check = "retention"
	switch p := attrs.RetentionPolicy; {
	case p != nil && p.RetentionPeriod > 0:
		return store.Check{
			Name: check, Status: store.CheckFail, Detail: fmt.Sprintf("no object may be replaced or removed within %v of its making", p.RetentionPeriod),
			Fix: "use a bucket without a retention policy, or remove it: gcloud storage buckets update gs://BUCKET --clear-retention-period",
		}
	case attrs.DefaultEventBasedHold:
		return store.Check{
			Name: check, Status: store.CheckFail, Detail: "every new object is held: it may not be replaced or removed",
			Fix: "gcloud storage buckets update gs://BUCKET --no-default-event-based-hold",
		}
	}
	return store.Check{Name: check, Status: store.CheckOK, Detail: "archives may be replaced at any time"}
}

// checkVersioning tells what becomes of archives that are replaced.
func checkVersioning(attrs *storage.BucketAttrs, rules []storage.LifecycleRule) store.Check {
	c := store.Check{Name: "versioning", Status: store.CheckOK, Detail: "off"}
	if !attrs.VersioningEnabled {
		return c
	}
	c.Detail = "on: archives that are replaced or removed stay as noncurrent generations"
	if slices.ContainsFunc(rules, isOfOld) {
		c.Detail += ", until a rule removes them"
		return c
	}
	c.Status, c.Detail = store.CheckWarn, c.Detail+" for ever, and are paid for"
	c.Fix = "add a rule of lifecycle with daysSinceNoncurrentTime, see docs/stores.md"
	return c
}

func checkSoftDelete(attrs *storage.BucketAttrs) store.Check {
	const check = "soft delete"
	if p := attrs.SoftDeletePolicy; p != nil && p.RetentionDuration > 0 {
		days := p.RetentionDuration.Hours() / (24 * time.Hour).Hours()
		return store.Check{Name: check, Status: store.CheckOK, Detail: fmt.Sprintf("on: archives that are replaced or removed can be restored for %.0f days, and are paid for", days)}
	}
	return store.Check{Name: check, Status: store.CheckOK, Detail: "off"}
}

// checkExpiry looks for rules that remove archives.
func checkExpiry(rules []storage.LifecycleRule) store.Check {
	const check = "expiry"
	if slices.ContainsFunc(rules, func(r storage.LifecycleRule) bool { return !isOfOld(r) }) {
		return store.Check{
			Name: check, Status: store.CheckWarn, Detail: "a rule of lifecycle removes archives that were not stored anew for some time",
			Fix: "keep archives out of that rule (matchesPrefix), unless that is wanted: such a workspace is empty then",
		}
	}
	return store.Check{Name: check, Status: store.CheckOK, Detail: "no rule removes archives"}
}
