// Package gs queries Google Cloud Storage about a bucket, for package doctor. It uses the
// handle of Google's library and knows no store.
package gs

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cloud.google.com/go/storage"

	"github.com/workdir/workdir/doctor"
)

// Bucket returns the doctor.Bucket of a bucket. handle authenticates if that has not been done
// yet. host is the server for requests, "" for Google's own. source says where the credentials
// come from; "" means that Google's libraries look them up. The store adds Prefix, Names and
// Meaning.
func Bucket(handle func(context.Context) (*storage.BucketHandle, error), host, source string) *doctor.Bucket {
	return &doctor.Bucket{
		Place: "at " + cmp.Or(host, "storage.googleapis.com"),
		Credentials: func(ctx context.Context) (string, error) {
			_, err := handle(ctx)
			return cmp.Or(source, "those of "+credentialSource()), err
		},
		Settings: func(ctx context.Context, name string, unseen doctor.Unseen) []doctor.Check {
			h, err := handle(ctx)
			var attrs *storage.BucketAttrs
			if err == nil {
				attrs, err = h.Attrs(ctx)
			}
			if err != nil {
				return []doctor.Check{unseen("settings", "storage.buckets.get (role roles/storage.bucketViewer)", err)}
			}
			return settings(attrs, name)
		},
	}
}

// credentialSource returns the first existing source of credentials, in the order of Google's
// libraries.
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

func settings(attrs *storage.BucketAttrs, name string) []doctor.Check {
	versioning, soft, expiry := doctor.Good("versioning", "off"), "off", ""
	rules := deletions(attrs, name)
	if attrs.VersioningEnabled {
		ended := slices.ContainsFunc(rules, isOfOld)
		versioning = doctor.Versioning("noncurrent generations", &ended, "daysSinceNoncurrentTime")
	}
	if p := attrs.SoftDeletePolicy; p != nil && p.RetentionDuration > 0 {
		soft = fmt.Sprintf("on: archives that are replaced or removed can be restored for %.0f days, and are paid for", p.RetentionDuration.Hours()/24)
	}
	if slices.ContainsFunc(rules, func(r storage.LifecycleRule) bool { return !isOfOld(r) }) {
		expiry = "a rule of lifecycle"
	}
	return []doctor.Check{
		doctor.Good("location", strings.TrimSpace(fmt.Sprintf("%s %s, class %s", attrs.Location, attrs.LocationType, attrs.StorageClass))),
		retention(attrs), versioning, doctor.Good("soft delete", soft), doctor.Expiry(expiry, "keep archives out of that rule (matchesPrefix)"),
	}
}

// retention checks for settings that prevent archives from being replaced.
func retention(attrs *storage.BucketAttrs) doctor.Check {
	switch p := attrs.RetentionPolicy; {
	case p != nil && p.RetentionPeriod > 0:
		return doctor.Retention(fmt.Sprintf("no object may be replaced or removed within %v of its making", p.RetentionPeriod),
			"use a bucket without a retention policy, or remove it: gcloud storage buckets update gs://BUCKET --clear-retention-period")
	case attrs.DefaultEventBasedHold:
		return doctor.Retention("every new object is held: it may not be replaced or removed", "gcloud storage buckets update gs://BUCKET --no-default-event-based-hold")
	}
	return doctor.Retention("", "")
}

// deletions returns the lifecycle rules that remove the object of a name, or older generations
// of it.
func deletions(attrs *storage.BucketAttrs, name string) []storage.LifecycleRule {
	matches := func(patterns []string, match func(s, pattern string) bool) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return match(name, p) })
	}
	return slices.DeleteFunc(slices.Clone(attrs.Lifecycle.Rules), func(r storage.LifecycleRule) bool {
		c := &r.Condition
		return r.Action.Type != storage.DeleteAction || !matches(c.MatchesPrefix, strings.HasPrefix) || !matches(c.MatchesSuffix, strings.HasSuffix)
	})
}

// isOfOld reports whether a rule applies to replaced generations.
func isOfOld(r storage.LifecycleRule) bool {
	c := &r.Condition
	return c.Liveness == storage.Archived || c.NumNewerVersions > 0 || c.DaysSinceNoncurrentTime > 0 || !c.NoncurrentTimeBefore.IsZero()
}
