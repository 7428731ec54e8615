// Package s3 queries Amazon S3, and servers that speak its protocol, about a bucket, for
// package doctor. It uses the SDK's client and knows no store.
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

	"github.com/workdir/workdir/doctor"
)

// Bucket returns the doctor.Bucket of a bucket, queried by a client. The store adds Prefix,
// Names and Meaning.
func Bucket(client *awss3.Client, name string) *doctor.Bucket {
	b := &bucket{client, &name}
	o := client.Options()
	place := "region " + o.Region
	if o.BaseEndpoint != nil {
		place += ", endpoint " + *o.BaseEndpoint
	}
	return &doctor.Bucket{Place: place, Credentials: b.credentials, Settings: b.settings}
}

type bucket struct {
	client *awss3.Client
	name   *string
}

func (b *bucket) credentials(ctx context.Context) (string, error) {
	provider := b.client.Options().Credentials
	if provider == nil || aws.IsCredentialsProvider(provider, (*aws.AnonymousCredentials)(nil)) {
		return "none are used (anonymous): the bucket must be open to all", nil
	}
	found, err := provider.Retrieve(ctx)
	if found.CanExpire {
		found.Source += fmt.Sprintf(", good for another %v", time.Until(found.Expires).Round(time.Minute))
	}
	return "found by " + found.Source, err
}

func (b *bucket) settings(ctx context.Context, name string, unseen doctor.Unseen) []doctor.Check {
	rules, err := b.rules(ctx, name)
	checks := []doctor.Check{b.versioning(ctx, rules, err, unseen), b.uploads(ctx, name, unseen)}
	if err != nil {
		return append(checks, unseen("lifecycle", "s3:GetLifecycleConfiguration", err))
	}
	abort := doctor.Doubtful("lifecycle", "no rule removes the parts of uploads that a kill left incomplete; they are invisible and paid for",
		"add a rule with AbortIncompleteMultipartUpload after 7 days, see docs/stores.md")
	expiry := ""
	for _, r := range rules {
		if a := r.AbortIncompleteMultipartUpload; a != nil {
			abort = doctor.Good("lifecycle", fmt.Sprintf("incomplete uploads are removed after %d days", aws.ToInt32(a.DaysAfterInitiation)))
		}
		if e := r.Expiration; e != nil && (e.Days != nil || e.Date != nil) {
			expiry = fmt.Sprintf("the rule of lifecycle %q", aws.ToString(r.ID))
		}
	}
	return append(checks, abort, doctor.Expiry(expiry, "keep archives out of that rule"))
}

// rules returns the enabled lifecycle rules that apply to a name. Conditions on tags and sizes
// are ignored.
func (b *bucket) rules(ctx context.Context, name string) ([]types.LifecycleRule, error) {
	out, err := b.client.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: b.name})
	var answer smithy.APIError
	if errors.As(err, &answer) && answer.ErrorCode() == "NoSuchLifecycleConfiguration" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out.Rules, func(r types.LifecycleRule) bool {
		prefix := r.Prefix //nolint:staticcheck // used by older rules
		if f := r.Filter; f != nil && f.Prefix != nil {
			prefix = f.Prefix
		} else if f != nil && f.And != nil {
			prefix = f.And.Prefix
		}
		return r.Status != types.ExpirationStatusEnabled || !strings.HasPrefix(name, aws.ToString(prefix))
	}), nil
}

// versioning checks what happens to replaced archives. rulesErr is the error from reading the
// rules.
func (b *bucket) versioning(ctx context.Context, rules []types.LifecycleRule, rulesErr error, unseen doctor.Unseen) doctor.Check {
	out, err := b.client.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: b.name})
	if err != nil {
		return unseen("versioning", "s3:GetBucketVersioning", err)
	}
	if out.Status != types.BucketVersioningStatusEnabled {
		return doctor.Good("versioning", "off: an archive that is replaced or removed is gone")
	}
	var ended *bool
	if rulesErr == nil {
		ended = aws.Bool(slices.ContainsFunc(rules, func(r types.LifecycleRule) bool { return r.NoncurrentVersionExpiration != nil }))
	}
	return doctor.Versioning("noncurrent versions", ended, "NoncurrentVersionExpiration")
}

// uploads counts the incomplete uploads in the directory of a name.
func (b *bucket) uploads(ctx context.Context, name string, unseen doctor.Unseen) doctor.Check {
	const check = "incomplete uploads"
	out, err := b.client.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: b.name, Prefix: aws.String(doctor.Beside(name))})
	if err != nil {
		return unseen(check, "s3:ListBucketMultipartUploads", err)
	}
	left := 0
	for i := range out.Uploads {
		if time.Since(aws.ToTime(out.Uploads[i].Initiated)) > 24*time.Hour {
			left++
		}
	}
	if left == 0 {
		return doctor.Good(check, "none that is older than a day")
	}
	return doctor.Doubtful(check, fmt.Sprintf("%d are older than a day", left), "abort them (aws s3api list-multipart-uploads, abort-multipart-upload), and add a rule that does so")
}
