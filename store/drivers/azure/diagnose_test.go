package azure

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// listing answers with blobs, as the service lists them.
func listing(blobs string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		if r.URL.Query().Get("comp") == "list" {
			fmt.Fprintf(w, `<?xml version="1.0"?><EnumerationResults ContainerName="box"><Blobs>%s</Blobs></EnumerationResults>`, blobs)
		}
	}
}

func TestNames(t *testing.T) {
	asked := ""
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked += r.URL.Query().Get("prefix") + " " + r.URL.Query().Get("delimiter") + " " + r.URL.Query().Get("maxresults") + ";"
		listing(`<Blob><Name>jobs/a.tar.gz</Name><Properties><Last-Modified>`+someTime+`</Last-Modified><Content-Length>7</Content-Length></Properties></Blob><BlobPrefix><Name>jobs/ab/</Name></BlobPrefix>`)(w, r)
	})
	got, err := b.Names(t.Context(), "jobs/a", 7)
	if want := []string{"jobs/a.tar.gz", "jobs/ab/"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("names %q, %v", got, err)
	}
	if _, err := b.Names(t.Context(), "jobs/a", 1000); err != nil {
		t.Error(err)
	}
	if _, _, err := b.List("jobs/a", false)(t.Context()); err != nil {
		t.Error(err)
	}
	if asked != "jobs/a / 7;jobs/a / 1000;jobs/a / 5000;" {
		t.Errorf("asked %q", asked)
	}
	if _, err := answering(t, refusing(http.StatusForbidden, "AuthorizationPermissionMismatch")).Names(t.Context(), "", 1); err == nil {
		t.Error("no error of a list that is denied")
	}
}

// settingOf gives one of the checks of a container that answers so.
func settingOf(t *testing.T, name string, answer http.HandlerFunc) store.Check {
	t.Helper()
	for _, c := range answering(t, answer).Settings(t.Context(), "jobs/.workdir-doctor-0/trial.tar.gz") {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q", name)
	return store.Check{}
}

func TestSettings(t *testing.T) {
	immutable := func(header string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(header, "true")
			listing("")(w, r)
		}
	}
	tests := []struct {
		name, check string
		answer      http.HandlerFunc
		status      store.CheckStatus
		detail      string
	}{
		{"plain", "retention", listing(""), store.CheckOK, "at any time"},
		{"policy", "retention", immutable("x-ms-has-immutability-policy"), store.CheckFail, "immutability"},
		{"hold", "retention", immutable("x-ms-has-legal-hold"), store.CheckFail, "legal hold"},
		{"denied", "retention", refusing(http.StatusForbidden, "AuthorizationPermissionMismatch"), store.CheckSkip, "may not"},
		{"plain", "versioning", listing(`<Blob><Name>jobs/a</Name><Properties/></Blob>`), store.CheckOK, "no older versions"},
		{"versions", "versioning", listing(`<Blob><Name>jobs/a</Name><VersionId>2026-01-01T00:00:00Z</VersionId><Properties/></Blob>`), store.CheckOK, "on: "},
		{"soft delete", "versioning", listing(`<Blob><Name>jobs/a</Name><Deleted>true</Deleted><Properties/></Blob>`), store.CheckOK, "soft delete is on"},
		{"denied", "versioning", refusing(http.StatusForbidden, "AuthorizationPermissionMismatch"), store.CheckSkip, "may not"},
		{"anything", "lifecycle", listing(""), store.CheckSkip, "management interface"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.check, func(t *testing.T) {
			if c := settingOf(t, tt.check, tt.answer); c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	at := func(query string) *backend { return at(t, "https://acct.blob.core.windows.net/box"+query) }
	later := time.Now().Add(90 * time.Minute).UTC().Format(time.RFC3339)
	environment(t, map[string]string{"AZURE_STORAGE_KEY": someKey})
	tests := []struct {
		name   string
		b      *backend
		status store.CheckStatus
		detail string
	}{
		{"key", at(""), store.CheckOK, "from AZURE_STORAGE_KEY"},
		{"SAS", at("?sig=SECRET&sp=rl&se=" + later), store.CheckOK, "good for another 1h30m0s, with the permissions rl"},
		{"SAS without particulars", at("?sig=SECRET"), store.CheckOK, "a SAS token"},
		{"old SAS", at("?sig=SECRET&se=2020-01-01T00:00:00Z"), store.CheckFail, "expired at 2020"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.b.Credentials(t.Context())
			if c.Status != tt.status || !strings.Contains(c.Detail, tt.detail) || (c.Status == store.CheckFail) != (c.Fix != "") {
				t.Errorf("%+v", c)
			}
			if strings.Contains(c.Detail+c.Fix, "SECRET") || strings.Contains(c.Detail, someKey) {
				t.Errorf("a secret is shown: %+v", c)
			}
		})
	}
}

func TestCredentialsOfNobody(t *testing.T) {
	environment(t, nil)
	_, o, err := clientFor(t, "az://box?storage_account=acct")
	if err != nil {
		t.Fatal(err)
	}
	b := at(t, "https://acct.blob.core.windows.net/box")
	b.credential = o.credential
	if c := b.Credentials(t.Context()); c.Status != store.CheckFail || c.Fix != todoLogin {
		t.Errorf("%+v", c)
	}
}
