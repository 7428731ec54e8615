// Package azure queries Azure Blob Storage about a container, for package doctor. It uses the
// SDK's client and knows no store.
package azure

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/workdir/workdir/doctor"
)

// Container returns the Bucket of a container, queried by a client that authenticates with
// credential, unless that is nil. The store adds Prefix, Names and Meaning.
func Container(client *container.Client, credential azcore.TokenCredential, account string) *doctor.Bucket {
	at, err := url.Parse(client.URL())
	if err != nil {
		at = &url.URL{}
	}
	return &doctor.Bucket{
		Place:       fmt.Sprintf("account %s at %s", account, at.Host),
		Credentials: func(ctx context.Context) (string, error) { return credentials(ctx, credential, at.Query()) },
		Settings: func(ctx context.Context, name string, unseen doctor.Unseen) []doctor.Check {
			return []doctor.Check{
				retention(ctx, client, unseen), versioning(ctx, client, doctor.Beside(name), unseen),
				{Name: "lifecycle", Status: doctor.Skip, Detail: "only Azure's management interface shows its rules; blocks of incomplete uploads disappear after 7 days by themselves"},
			}
		},
	}
}

// storageScope is the scope of a token for storage. Source: learn.microsoft.com, "Authorize
// with Microsoft Entra ID".
const storageScope = "https://storage.azure.com/.default"

// credentials looks for credentials in the driver's order. signature is the client's SAS
// token, if any.
func credentials(ctx context.Context, login azcore.TokenCredential, signature url.Values) (string, error) {
	switch {
	case login != nil:
		token, err := login.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
		return fmt.Sprintf("a token of who is logged in (environment, workload or managed identity, az login), good for another %v", left(token.ExpiresOn)), err
	case signature.Has("sig"):
		return signed(signature)
	}
	for _, name := range []string{"AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING"} {
		if os.Getenv(name) != "" {
			return "an account key, from " + name, nil
		}
	}
	return "an account key, the emulator's, or the program's own", nil
}

func left(end time.Time) time.Duration { return time.Until(end).Round(time.Minute) }

// signed describes what a SAS token allows (sp) and until when (se). Source:
// learn.microsoft.com, "Create an account SAS" and "Create a service SAS".
func signed(q url.Values) (string, error) {
	detail := "a SAS token"
	if end, err := time.Parse(time.RFC3339, q.Get("se")); err == nil {
		if left(end) <= 0 {
			return "", &doctor.Check{Status: doctor.Fail, Detail: detail + " that expired at " + end.UTC().Format(time.RFC3339), Fix: "set a new one in AZURE_STORAGE_SAS_TOKEN"}
		}
		detail += fmt.Sprintf(", good for another %v", left(end))
	}
	if sp := q.Get("sp"); sp != "" {
		detail += ", with the permissions " + sp
	}
	return detail, nil
}

// retention checks for settings that prevent archives from being replaced.
func retention(ctx context.Context, c *container.Client, unseen doctor.Unseen) doctor.Check {
	p, err := c.GetProperties(ctx, nil)
	if err != nil {
		return unseen("retention", "Microsoft.Storage/storageAccounts/blobServices/containers/read", err)
	}
	if isSet(p.HasImmutabilityPolicy) || isSet(p.HasLegalHold) {
		return doctor.Retention("a policy of immutability or a legal hold of the container keeps blobs from being replaced or removed", "use a container without one")
	}
	return doctor.Retention("", "")
}

func isSet(v *bool) bool { return v != nil && *v }

// versioning checks whether older versions and removed blobs are kept, as far as the blobs in
// a directory show.
func versioning(ctx context.Context, c *container.Client, dir string, unseen doctor.Unseen) doctor.Check {
	most := int32(100)
	page, err := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &dir, MaxResults: &most, Include: container.ListBlobsInclude{Versions: true, Deleted: true},
	}).NextPage(ctx)
	if err != nil {
		return unseen("versioning", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", err)
	}
	versions, deleted := false, false
	for _, item := range page.Segment.BlobItems {
		versions = versions || item.VersionID != nil && *item.VersionID != ""
		deleted = deleted || isSet(item.Deleted)
	}
	switch {
	case versions:
		return doctor.Good("versioning", "on: archives that are replaced or removed stay as older versions, and are paid for, until a rule of lifecycle removes them")
	case deleted:
		return doctor.Good("versioning", "off, but soft delete is on: archives that are replaced or removed stay for its time, and are paid for")
	}
	return doctor.Good("versioning", "no older versions and no removed blobs are kept here as far as can be seen")
}
