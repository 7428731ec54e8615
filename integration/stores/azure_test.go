package stores

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/workdir/workdir/store"
)

// open opens the store of a bucket, for the time of a test.
func (s *Server) open(t *testing.T, bucket string) store.Store {
	t.Helper()
	opened, err := openURL(t.Context(), s.URL(bucket, ""))
	noError(t, err)
	t.Cleanup(func() { opened.Close() })
	return opened
}

// writing returns a function for Store.Put.
func writing(p []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(p)
		return err
	}
}

// blocks returns the SDK's own client for one blob.
func (c *azureClient) blocks(bucket, name string) *blockblob.Client {
	return c.ServiceClient().NewContainerClient(bucket).NewBlockBlobClient(name)
}

// The blocks that another tool has staged decide on the length of the ids of ours.
func TestAzureForeignBlocks(t *testing.T) {
	s := servers[Azure]
	bucket, content := newBucket(t, s), bytes.Repeat([]byte("content"), largeSize/7)
	for _, id := range []string{"0000001", strings.Repeat("0", 64)} {
		key := "key" + id
		blocks := s.client.(*azureClient).blocks(bucket, key+".tar.gz")
		_, err := blocks.StageBlock(t.Context(), base64.StdEncoding.EncodeToString([]byte(id)), streaming.NopCloser(strings.NewReader("x")), nil)
		noError(t, err)
		opened := s.open(t, bucket)
		if _, err := opened.Stat(t.Context(), key); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("of blocks alone Stat returns %v", err)
		}
		_, err = opened.Put(t.Context(), key, writing(content), nil)
		noError(t, err)
		got, err := s.client.get(t.Context(), bucket, key+".tar.gz")
		noError(t, err)
		if !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back, want %d", len(got), len(content))
		}
	}
}

// copier is a store that copies at the server.
type copier interface {
	CopyFrom(ctx context.Context, src store.Store, srcKey string, srcRev store.Revision, key string, opts *store.PutOptions) (store.Info, error)
}

// An archive goes from container to container without coming here.
func TestAzureCopies(t *testing.T) {
	s := servers[Azure]
	from, to := s.open(t, newBucket(t, s)), s.open(t, newBucket(t, s))
	content := bytes.Repeat([]byte("content"), largeSize/7)
	src, err := from.Put(t.Context(), "src", writing(content), nil)
	noError(t, err)
	dst, err := to.(copier).CopyFrom(t.Context(), from, "src", src.Revision, "dst", nil)
	noError(t, err)
	o, err := to.Open(t.Context(), "dst")
	noError(t, err)
	defer o.Close()
	got, err := io.ReadAll(o)
	noError(t, err)
	if !bytes.Equal(got, content) || o.Info().Revision != dst.Revision {
		t.Errorf("%d bytes of revision %s came back, want %d of %s", len(got), o.Info().Revision, len(content), dst.Revision)
	}
	if sent := store.TrafficOf(to)["copy"].Sent; sent != 0 {
		t.Errorf("%d bytes were sent", sent)
	}
	if _, err := to.(copier).CopyFrom(t.Context(), from, "src", src.Revision, "dst", nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("over another archive: %v", err)
	}
	if _, err := to.(copier).CopyFrom(t.Context(), from, "src", "other", "new", nil); err == nil {
		t.Error("a revision that there is not was copied")
	}
	if _, err := to.Stat(t.Context(), "new"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("after that copy: %v", err)
	}
}

// withSAS opens a bucket by a SAS token.
func withSAS(t *testing.T, bucket string, may sas.ContainerPermissions, end time.Time) store.Store {
	t.Helper()
	s := servers[Azure]
	client := s.client.(*azureClient).ServiceClient().NewContainerClient(bucket)
	address, err := client.GetSASURL(may, end, nil)
	noError(t, err)
	u, err := url.Parse(address)
	noError(t, err)
	t.Setenv("AZURE_STORAGE_KEY", "")
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", u.RawQuery)
	t.Setenv("AZURE_STORAGE_DOMAIN", s.Address)
	t.Setenv("AZURE_STORAGE_PROTOCOL", "http")
	return s.open(t, bucket)
}

// What a SAS token does not allow is named.
func TestAzureSAS(t *testing.T) {
	s, hour := servers[Azure], time.Now().Add(time.Hour)
	bucket := newBucket(t, s)
	noError(t, s.client.put(t.Context(), bucket, "key.tar.gz", []byte("archive")))
	all := sas.ContainerPermissions{Read: true, List: true, Create: true, Write: true, Delete: true}
	for _, tc := range []struct {
		name string
		may  sas.ContainerPermissions
		end  time.Time
		does func(store.Store) error
		says string // "" where it is allowed
	}{
		{"read", sas.ContainerPermissions{Read: true}, hour, stat("key"), ""},
		{"not found", sas.ContainerPermissions{Read: true}, hour, put("new"), "permission cw"},
		{"replace", sas.ContainerPermissions{Read: true, List: true}, hour, replace("key"), "permission cw"},
		{"list", sas.ContainerPermissions{Read: true}, hour, list, "permission l"},
		{"delete", sas.ContainerPermissions{Read: true}, hour, remove("key"), "permission d"},
		{"stat", sas.ContainerPermissions{List: true}, hour, stat("key"), "permission r"},
		{"expired", all, time.Now().Add(-time.Minute), stat("key"), "expired"},
		{"all", all, hour, replace("key"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.does(withSAS(t, bucket, tc.may, tc.end))
			switch {
			case tc.says == "":
				noError(t, err)
			case !errors.Is(err, store.ErrNotAllowed) || !strings.Contains(err.Error(), tc.says):
				t.Errorf("returns %v; want ErrNotAllowed that says %q", err, tc.says)
			case strings.Contains(err.Error(), "sig="):
				t.Errorf("shows a secret: %v", err)
			}
		})
	}
}

func stat(key string) func(store.Store) error {
	return func(s store.Store) error {
		_, err := s.Stat(context.Background(), key)
		return err
	}
}

func put(key string) func(store.Store) error {
	return func(s store.Store) error {
		_, err := s.Put(context.Background(), key, writing([]byte("new")), nil)
		return err
	}
}

func replace(key string) func(store.Store) error {
	return func(s store.Store) error {
		info, err := s.Stat(context.Background(), key)
		if err == nil {
			_, err = s.Put(context.Background(), key, writing([]byte("new")), &store.PutOptions{Replace: info.Revision})
		}
		return err
	}
}

func remove(key string) func(store.Store) error {
	return func(s store.Store) error {
		info, err := s.Stat(context.Background(), key)
		if err == nil {
			err = s.Delete(context.Background(), key, info.Revision, nil)
		}
		return err
	}
}

func list(s store.Store) error {
	_, err := s.List(context.Background(), "")
	return err
}

// A missing container is not an empty workspace, and the error says which account was asked.
func TestAzureNoContainer(t *testing.T) {
	opened := servers[Azure].open(t, "none-such")
	for name, does := range map[string]func(store.Store) error{"stat": stat("key"), "put": put("key"), "list": list} {
		err := does(opened)
		if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), `"none-such" in the account "devstoreaccount1"`) {
			t.Errorf("%s returns %v", name, err)
		}
	}
}

// plainAzurite is Azurite as users start it: it refuses versions of the protocol that are
// younger than it is, as that of the newest SDK.
type plainAzurite struct{ azurite }

func (c plainAzurite) command(at place) (args, env []string) {
	args, env = c.azurite.command(at)
	return slices.DeleteFunc(args, func(a string) bool { return a == "--skipApiVersionCheck" }), env
}

func (plainAzurite) client(_ context.Context, address string) (client, error) {
	c, err := azblob.NewClientFromConnectionString(azureConnection(address), &azblob.ClientOptions{
		ClientOptions: policy.ClientOptions{PerCallPolicies: []policy.Policy{olderVersion{}}},
	})
	if err != nil {
		return nil, err
	}
	return &azureClient{c}, nil
}

// olderVersion speaks a version of the protocol that Azurite knows.
type olderVersion struct{}

func (olderVersion) Do(r *policy.Request) (*http.Response, error) {
	r.Raw().Header["x-ms-version"] = []string{"2025-11-05"}
	return r.Next()
}

// The emulator as its users start it takes archives of one part and of several, and lists,
// copies and removes them.
func TestAzureEmulatorWithoutFlags(t *testing.T) {
	s, err := startCloud(t.Context(), Azure, plainAzurite{}, "")
	noError(t, err)
	t.Cleanup(func() { noError(t, s.Stop()) })
	bucket := newBucket(t, s)
	opened := s.open(t, bucket)
	for key, size := range map[string]int{"dir/small": 10, "dir/large": 2 * largeSize} {
		content := bytes.Repeat([]byte("x"), size)
		info, err := opened.Put(t.Context(), key, writing(content), nil)
		noError(t, err)
		o, err := opened.Open(t.Context(), key)
		noError(t, err)
		got, err := io.ReadAll(o)
		noError(t, errors.Join(err, o.Close()))
		if !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back, want %d", len(got), size)
		}
		_, err = opened.(copier).CopyFrom(t.Context(), opened, key, info.Revision, key+"-copy", nil)
		noError(t, err)
		noError(t, opened.Delete(t.Context(), key, info.Revision, nil))
	}
	infos, err := opened.List(t.Context(), "dir/")
	noError(t, err)
	if len(infos) != 2 || infos[0].Key != "dir/large-copy" || infos[1].Key != "dir/small-copy" {
		t.Errorf("listed %+v", infos)
	}
}
