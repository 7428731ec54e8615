package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/workdir/workdir/doctor"
)

// unseen is a check that says why it was not made.
func unseen(check, permission string, err error) doctor.Check {
	return doctor.Check{Name: check, Status: doctor.Skip, Detail: err.Error(), Fix: permission}
}

// listing answers with blobs, as the service lists them.
func listing(blobs string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		if r.URL.Query().Get("comp") == "list" {
			fmt.Fprintf(w, `<?xml version="1.0"?><EnumerationResults ContainerName="box"><Blobs>%s</Blobs></EnumerationResults>`, blobs)
		}
	}
}

// settingOf returns one of the checks of a container that answers so.
func settingOf(t *testing.T, name string, answer http.HandlerFunc) doctor.Check {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := container.NewClientWithNoCredential(server.URL+"/acct/box", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Container(client, nil, "acct").Settings(t.Context(), "jobs/.workdir-doctor-0/trial.tar.gz", unseen) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q", name)
	return doctor.Check{}
}

func TestSettings(t *testing.T) {
	immutable := func(header string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(header, "true")
			listing("")(w, r)
		}
	}
	denied := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	tests := []struct {
		name, check string
		answer      http.HandlerFunc
		status      doctor.Status
		detail      string
	}{
		{"plain", "retention", listing(""), doctor.OK, "at any time"},
		{"policy", "retention", immutable("x-ms-has-immutability-policy"), doctor.Fail, "immutability"},
		{"hold", "retention", immutable("x-ms-has-legal-hold"), doctor.Fail, "legal hold"},
		{"denied", "retention", denied, doctor.Skip, "403"},
		{"plain", "versioning", listing(`<Blob><Name>jobs/a</Name><Properties/></Blob>`), doctor.OK, "no older versions"},
		{"versions", "versioning", listing(`<Blob><Name>jobs/a</Name><VersionId>2026-01-01T00:00:00Z</VersionId><Properties/></Blob>`), doctor.OK, "on: "},
		{"soft delete", "versioning", listing(`<Blob><Name>jobs/a</Name><Deleted>true</Deleted><Properties/></Blob>`), doctor.OK, "soft delete is on"},
		{"denied", "versioning", denied, doctor.Skip, "403"},
		{"anything", "lifecycle", listing(""), doctor.Skip, "management interface"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.check, func(t *testing.T) {
			if c := settingOf(t, tt.check, tt.answer); c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// login is a credential that has a token or an error.
type login struct{ err error }

func (l login) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "SECRET", ExpiresOn: time.Now().Add(90 * time.Minute)}, l.err
}

func TestCredentials(t *testing.T) {
	for _, name := range []string{"AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING"} {
		t.Setenv(name, "")
	}
	later := time.Now().Add(90 * time.Minute).UTC().Format(time.RFC3339)
	expired, nobody := &doctor.Check{Status: doctor.Fail}, errors.New("nobody is logged in")
	tests := []struct {
		name, query, key string
		credential       azcore.TokenCredential
		detail           string
		err              error
	}{
		{"key", "", "SECRET", nil, "an account key, from AZURE_STORAGE_KEY", nil},
		{"emulator", "", "", nil, "an account key, the emulator's, or the program's own", nil},
		{"SAS", "?sig=SECRET&sp=rl&se=" + later, "", nil, "a SAS token, good for another 1h30m0s, with the permissions rl", nil},
		{"SAS without particulars", "?sig=SECRET", "", nil, "a SAS token", nil},
		{"old SAS", "?sig=SECRET&se=2020-01-01T00:00:00Z", "", nil, "", expired},
		{"login", "", "SECRET", login{}, "az login), good for another 1h30m0s", nil},
		{"nobody", "", "", login{nobody}, "", nobody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("AZURE_STORAGE_KEY", tt.key)
			client, err := container.NewClientWithNoCredential("https://acct.blob.core.windows.net/box"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			b := Container(client, tt.credential, "acct")
			detail, err := b.Credentials(t.Context())
			var check *doctor.Check
			switch {
			case tt.err == expired:
				if !errors.As(err, &check) || !strings.Contains(check.Detail, "expired at 2020") || check.Fix == "" {
					t.Errorf("error %v", err)
				}
			case !errors.Is(err, tt.err) || !strings.HasSuffix(detail, tt.detail):
				t.Errorf("%q, %v", detail, err)
			}
			if strings.Contains(detail, "SECRET") {
				t.Errorf("a secret is shown: %s", detail)
			}
			if b.Place != "account acct at acct.blob.core.windows.net" {
				t.Errorf("place %q", b.Place)
			}
		})
	}
}
