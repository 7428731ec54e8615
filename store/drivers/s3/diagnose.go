package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var (
	_ cloud.Diagnoser = (*backend)(nil)
	_ cloud.Namer     = (*backend)(nil)
)

// Settings implements cloud.Diagnoser.
func (b *backend) Settings(ctx context.Context, name string) []store.Check {
	rules, err := b.rules(cloud.Operation(ctx, "bucket"), name)
	checks := []store.Check{
		b.checkVersioning(cloud.Operation(ctx, "bucket"), rules, err),
		b.checkUploads(cloud.Operation(ctx, "bucket"), name),
	}
	if err != nil {
		return append(checks, cloud.Unseen(b, lifecycle, "s3:GetLifecycleConfiguration", err))
	}
	return append(checks, checkAborts(rules), checkExpiry(rules))
}

const lifecycle = "lifecycle"

// Credentials implements cloud.Diagnoser.
func (b *backend) Credentials(ctx context.Context) store.Check {
	const check = "credentials"
	c := store.Check{Name: check, Status: store.CheckOK}
	provider := b.client.Options().Credentials
	if provider == nil || aws.IsCredentialsProvider(provider, (*aws.AnonymousCredentials)(nil)) {
		c.Detail = "none are used (anonymous): the bucket must be open to all"
		return c
	}
	found, err := provider.Retrieve(ctx)
	if err != nil {
		c.Status, c.Detail, c.Fix = store.CheckFail, cloud.OneLine(err.Error()), b.Classify(err).Todo
		return c
	}
	c.Detail = "found by " + found.Source
	if found.CanExpire {
		c.Detail += fmt.Sprintf(", good for another %v", time.Until(found.Expires).Round(time.Minute))
	}
	return c
}

// Place implements cloud.Diagnoser.
func (b *backend) Place() string {
	place := "region " + b.client.Options().Region
	if b.endpoint != "" {
		place += ", endpoint " + b.endpoint
	}
	return place
}

// rules gives the rules of lifecycle that are on and hold for a name.
func (b *backend) rules(ctx context.Context, name string) ([]types.LifecycleRule, error) {
	out, err := b.client.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: &b.bucket})
	var answer smithy.APIError
	if errors.As(err, &answer) && answer.ErrorCode() == "NoSuchLifecycleConfiguration" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out.Rules, func(r types.LifecycleRule) bool {
		return r.Status != types.ExpirationStatusEnabled || !strings.HasPrefix(name, rulePrefix(&r))
	}), nil
}

// rulePrefix is what the names begin with that a rule holds for. Conditions on tags
// and sizes are passed over.
func rulePrefix(r *types.LifecycleRule) string {
	f := r.Filter
	switch {
	case f != nil && f.Prefix != nil:
		return *f.Prefix
	case f != nil && f.And != nil && f.And.Prefix != nil:
		return *f.And.Prefix
	}
	return aws.ToString(r.Prefix) //nolint:staticcheck // older rules have it
}

// checkVersioning tells what becomes of archives that are replaced.
func (b *backend) checkVersioning(ctx context.Context, rules []types.LifecycleRule, rulesErr error) store.Check {
	const check = "versioning"
	out, err := b.client.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &b.bucket})
	if err != nil {
		return cloud.Unseen(b, check, "s3:GetBucketVersioning", err)
	}
	c := store.Check{Name: check, Status: store.CheckOK, Detail: "off: an archive that is replaced or removed is gone"}
	if out.Status != types.BucketVersioningStatusEnabled {
		return c
	}
	c.Detail = "on: archives that are replaced or removed stay as noncurrent versions"
	ends := func(r types.LifecycleRule) bool { return r.NoncurrentVersionExpiration != nil }
	switch {
	case rulesErr != nil:
	case slices.ContainsFunc(rules, ends):
		c.Detail += ", until a rule removes them"
	default:
		c.Status, c.Detail = store.CheckWarn, c.Detail+" for ever, and are paid for"
		c.Fix = "add a rule of lifecycle with NoncurrentVersionExpiration, see docs/stores.md"
	}
	return c
}

// checkAborts looks for the rule that removes what a kill leaves of an upload.
func checkAborts(rules []types.LifecycleRule) store.Check {
	for _, r := range rules {
		if a := r.AbortIncompleteMultipartUpload; a != nil {
			return store.Check{Name: lifecycle, Status: store.CheckOK, Detail: fmt.Sprintf("incomplete uploads are removed after %d days", aws.ToInt32(a.DaysAfterInitiation))}
		}
	}
	return store.Check{
		Name: lifecycle, Status: store.CheckWarn,
		Detail: "no rule removes the parts of uploads that a kill left incomplete; they are invisible and paid for",
		Fix:    "add a rule with AbortIncompleteMultipartUpload after 7 days, see docs/stores.md",
	}
}

// checkExpiry looks for rules that remove archives.
func checkExpiry(rules []types.LifecycleRule) store.Check {
	const check = "expiry"
	for _, r := range rules {
		if e := r.Expiration; e != nil && (e.Days != nil || e.Date != nil) {
			return store.Check{
				Name: check, Status: store.CheckWarn,
				Detail: fmt.Sprintf("the rule of lifecycle %q removes archives that were not stored anew for some time", aws.ToString(r.ID)),
				Fix:    "keep archives out of that rule, unless that is wanted: such a workspace is empty then",
			}
		}
	}
	return store.Check{Name: check, Status: store.CheckOK, Detail: "no rule removes archives"}
}

// uploadAge is how old an incomplete upload must be to be called left.
const uploadAge = 24 * time.Hour

// checkUploads counts the incomplete uploads in the directory of a name.
func (b *backend) checkUploads(ctx context.Context, name string) store.Check {
	const check = "incomplete uploads"
	dir, _, _ := strings.Cut(name, ".workdir-")
	out, err := b.client.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: &dir})
	if err != nil {
		return cloud.Unseen(b, check, "s3:ListBucketMultipartUploads", err)
	}
	left := 0
	for i := range out.Uploads {
		if time.Since(aws.ToTime(out.Uploads[i].Initiated)) > uploadAge {
			left++
		}
	}
	if left > 0 {
		return store.Check{
			Name: check, Status: store.CheckWarn,
			Detail: fmt.Sprintf("%d are older than a day", left),
			Fix:    "abort them (aws s3api list-multipart-uploads, abort-multipart-upload), and add a rule that does so",
		}
	}
	return store.Check{Name: check, Status: store.CheckOK, Detail: "none that is older than a day"}
}
