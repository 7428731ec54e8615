package azure

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var (
	_ cloud.Diagnoser = (*backend)(nil)
	_ cloud.Namer     = (*backend)(nil)
)

// Place implements cloud.Diagnoser.
func (b *backend) Place() string { return fmt.Sprintf("account %s at %s", b.account, b.host) }

// Credentials implements cloud.Diagnoser.
func (b *backend) Credentials(ctx context.Context) store.Check {
	c := store.Check{Name: "credentials", Status: store.CheckOK}
	switch {
	case b.credential != nil:
		token, err := b.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
		if err != nil {
			return store.Check{Name: c.Name, Status: store.CheckFail, Detail: cloud.OneLine(err.Error()), Fix: todoLogin}
		}
		c.Detail = fmt.Sprintf("a token of who is logged in (environment, workload or managed identity, az login), good for another %v", time.Until(token.ExpiresOn).Round(time.Minute))
	case b.signature().Has("sig"):
		return b.checkSignature()
	default:
		c.Detail = "an account key, " + keySource()
	}
	return c
}

// signature is the SAS token, if the client has one.
func (b *backend) signature() url.Values {
	u, err := url.Parse(b.client.URL())
	if err != nil {
		return nil
	}
	return u.Query()
}

// checkSignature tells what a SAS token allows (sp) and until when (se). Source:
// learn.microsoft.com, "Create an account SAS" and "Create a service SAS".
func (b *backend) checkSignature() store.Check {
	c := store.Check{Name: "credentials", Status: store.CheckOK, Detail: "a SAS token"}
	q := b.signature()
	if end, err := time.Parse(time.RFC3339, q.Get("se")); err == nil {
		left := time.Until(end).Round(time.Minute)
		if left <= 0 {
			return store.Check{Name: c.Name, Status: store.CheckFail, Detail: c.Detail + " that expired at " + end.UTC().Format(time.RFC3339), Fix: todoWrong}
		}
		c.Detail += fmt.Sprintf(", good for another %v", left)
	}
	if sp := q.Get("sp"); sp != "" {
		c.Detail += ", with the permissions " + sp
	}
	return c
}

// keySource is where a key is from, by the order in which opener looks.
func keySource() string {
	for _, name := range []string{"AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING"} {
		if env(name) != "" {
			return "from " + name
		}
	}
	return "the emulator's, or the program's own"
}

// Settings implements cloud.Diagnoser. Rules of lifecycle are not to be had by the
// protocol of blobs.
func (b *backend) Settings(ctx context.Context, name string) []store.Check {
	return []store.Check{
		b.checkRetention(cloud.Operation(ctx, "bucket")),
		b.checkBackups(cloud.Operation(ctx, "list"), name),
		{Name: "lifecycle", Status: store.CheckSkip, Detail: "only Azure's management interface tells of its rules; blocks of uploads that a kill left incomplete are gone after 7 days by themselves"},
	}
}

// checkRetention looks for what keeps an archive from being replaced.
func (b *backend) checkRetention(ctx context.Context) store.Check {
	const check = "retention"
	p, err := b.client.GetProperties(ctx, nil)
	if err != nil {
		return cloud.Unseen(b, check, "Microsoft.Storage/storageAccounts/blobServices/containers/read", refused(err))
	}
	isSet := func(v *bool) bool { return v != nil && *v }
	if isSet(p.HasImmutabilityPolicy) || isSet(p.HasLegalHold) {
		return store.Check{
			Name: check, Status: store.CheckFail, Detail: "a policy of immutability or a legal hold of the container keeps blobs from being replaced or removed",
			Fix: "use a container without one",
		}
	}
	return store.Check{Name: check, Status: store.CheckOK, Detail: "archives may be replaced at any time"}
}

// checkBackups looks whether older versions and removed blobs are kept, as far as
// the blobs beside a name tell.
func (b *backend) checkBackups(ctx context.Context, name string) store.Check {
	const check = "versioning"
	dir, _, _ := strings.Cut(name, ".workdir-")
	most := int32(100)
	page, err := b.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &dir, MaxResults: &most, Include: container.ListBlobsInclude{Versions: true, Deleted: true},
	}).NextPage(ctx)
	if err != nil {
		return cloud.Unseen(b, check, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read", refused(err))
	}
	versions, deleted := false, false
	for _, item := range page.Segment.BlobItems {
		versions = versions || item.VersionID != nil && *item.VersionID != ""
		deleted = deleted || item.Deleted != nil && *item.Deleted
	}
	c := store.Check{Name: check, Status: store.CheckOK}
	switch {
	case versions:
		c.Detail = "on: archives that are replaced or removed stay as older versions, and are paid for, until a rule of lifecycle removes them"
	case deleted:
		c.Detail = "off, but soft delete is on: archives that are replaced or removed stay for its time, and are paid for"
	default:
		c.Detail = "no older versions and no removed blobs are kept here as far as can be seen"
	}
	return c
}
